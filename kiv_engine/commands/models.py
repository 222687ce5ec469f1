"""`kiv doctor`, `kiv fit` and `kiv models`: this PC, what fits it, and where to get it."""

import argparse
import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

from kiv_engine.catalogue import model_name
from kiv_engine.config import QUANTIZE_KINDS
from kiv_engine.errors import ModelNotFoundError
from kiv_engine.events import Downloaded, DownloadProgress
from kiv_engine.terminal import (
    DONE,
    INTERRUPTED,
    BadInputError,
    Parser,
    ProgressBar,
    StopFlag,
    ask_secret,
    confirmed,
    print_error,
)

if TYPE_CHECKING:
    from kiv_engine.download import HubModel

MOST_GB: Final = 100_000


def add_parsers(commands: "argparse._SubParsersAction[Parser]") -> None:
    """Add the commands' options."""
    doctor = commands.add_parser("doctor", help="what this PC has, and what it can run", prog="kiv doctor")
    doctor.add_argument("--json", action="store_true", help="print one JSON object instead of text")
    doctor.add_argument(
        "--fix", action="store_true", help="change PyTorch for the build that fits this PC, CPU or CUDA; asks first"
    )
    doctor.add_argument("--yes", action="store_true", help="with --fix: without asking")
    fit = commands.add_parser("fit", help="how many tokens a model can hold on this PC", prog="kiv fit")
    fit.add_argument(
        "model", type=model_name, metavar="demo|ID|FOLDER", help="nothing but the config of a hub id is downloaded"
    )
    fit.add_argument("--quantize", choices=QUANTIZE_KINDS, help="of which times are told; the best by default")
    fit.add_argument("--json", action="store_true", help="print one JSON object instead of text")
    models = commands.add_parser(
        "models", help="models that KIV supports well, and what fits this PC", prog="kiv models"
    )
    models.add_argument("--json", action="store_true", help="print one JSON object instead of text")
    for parser in (fit, models):
        add_pc_options(parser)
    actions = models.add_subparsers(dest="action", metavar="ACTION")
    token = actions.add_parser(
        "token", help="keep a token for gated and private models in the system's keyring", prog="kiv models token"
    )
    token.add_argument("--remove", action="store_true", help="take it out again")
    get = actions.add_parser("get", help="download a model, or go on with a download", prog="kiv models get")
    get.add_argument("id", type=model_name, metavar="ID", help="its name on the HuggingFace hub")
    get.add_argument(
        "--folder", metavar="FOLDER|default",
        help="where this and all later downloads go; default is the cache of HuggingFace's own tools",
    )  # fmt: skip
    doctor.set_defaults(run=run_doctor)
    fit.set_defaults(run=run_fit)
    models.set_defaults(run=run_models)


def add_pc_options(parser: Parser) -> None:
    """Options that plan for a PC which is not at hand."""
    parser.add_argument(
        "--gpu", type=gigabytes_of, metavar="GB", action="append",
        help="plan for a PC with a GPU of so much memory, 0 for none, instead of this one; again for each further GPU",
    )  # fmt: skip
    parser.add_argument("--ram", type=gigabytes_of, metavar="GB", help="plan for a PC with so much RAM")


def gigabytes_of(text: str) -> float:
    """A size like 12 or 11.5. Raises ArgumentTypeError."""
    try:
        size = float(text)
    except ValueError:
        size = -1.0
    if not 0 <= size <= MOST_GB:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of GB from 0 to {MOST_GB:,}")
    return size


def run_doctor(options: argparse.Namespace) -> int:
    """`kiv doctor`: the PC and a verdict, or the build of PyTorch that fits it."""
    if options.fix:
        return fix_torch(sure=options.yes)
    from kiv_engine import doctor
    from kiv_engine.hardware import inspect_hardware

    hardware = inspect_hardware(doctor.models_folder())
    if options.json:
        print(json.dumps(doctor.report(hardware)))
    else:
        print("\n".join(doctor.lines(hardware)))
    return DONE


def fix_torch(*, sure: bool) -> int:
    """`kiv doctor --fix`: change PyTorch for the build that fits, if somebody agrees."""
    from kiv_engine import torch_swap
    from kiv_engine.hardware import read_torch_build
    from kiv_engine.torch_build import read_nvidia, why_none_fits

    nvidia, installed = read_nvidia(), read_torch_build()
    swap = torch_swap.plan_swap(nvidia, installed)
    if nvidia.name and (not installed.cuda if swap is None else not swap.build.cuda):
        print(why_none_fits(nvidia))
    if swap is None:
        print(f"PyTorch {installed.version} is the build for this PC; there is nothing to change.")
        return DONE
    print(f"{swap} To download: {torch_swap.download_size(swap)}. Close KIV's windows first.", flush=True)
    if not sure and not confirmed("Change it?"):
        print("Nothing was changed.")
        return DONE
    print(f"PyTorch is {torch_swap.swap_torch(swap, torch_swap.run_on_stderr).version} now.")
    return DONE


def run_fit(options: argparse.Namespace) -> int:
    """`kiv fit`: how many tokens a model can hold here, and how fast it would be."""
    from kiv_engine import doctor, fit, model_shape, speed
    from kiv_engine.hardware import inspect_hardware
    from kiv_engine.model_config import is_quantized, read_config
    from kiv_engine.model_folder import loading_problem

    shape = model_shape.ModelShape(read_config(options.model))
    as_it_is = is_quantized(shape.config)
    if as_it_is and options.quantize not in (None, "none"):
        raise BadInputError(f"{options.model} is already quantized; leave out --quantize.")
    here = fit.room_of(inspect_hardware(doctor.models_folder()))
    room = fit.room_elsewhere(here, options.gpu, options.ram)
    elsewhere = doctor.elsewhere(room, options.gpu, options.ram)
    plans = fit.plan_stores(shape, room, options.quantize)
    best = options.quantize or fit.best_of(plans["model"])
    setting = model_shape.Setting(best, "cpu" if room.vram is None else "cuda")
    is_timed = not plans["model"][best].missing and not elsewhere
    pace = speed.measure_pace(shape, setting, plans["model"][best].gpu_layers) if is_timed else None
    problem = loading_problem(options.model)
    if options.json:
        report = doctor.fit_report(options.model, plans, best, pace)
        print(json.dumps({**report, "computed_for": elsewhere, "problem": problem, "quantized": as_it_is}))
    else:
        print(f"{elsewhere}\n" if elsewhere else "", end="")
        print("\n".join(doctor.fit_lines(options.model, plans, best, pace)))
        if as_it_is:
            print("\nIts weights are quantized already: they take less than these figures, which count them in full.")
        if problem:
            print(f"\nAs it is, it cannot be loaded. {problem}")
    return DONE


def run_models(options: argparse.Namespace) -> int:
    """`kiv models`."""
    if options.action == "token":
        return change_token(remove=options.remove)
    return get_model(options.id, options.folder) if options.action == "get" else list_models(options)


def change_token(*, remove: bool) -> int:
    """`kiv models token`: put a token into the keyring, or take it out."""
    from kiv_engine import hub_token

    if remove:
        there = hub_token.remove_token()
        print("The token is gone." if there else "There was no token in the system's keyring.")
        return DONE
    hub_token.keep_token(ask_secret("Token, from huggingface.co/settings/tokens (it is not shown): "))
    print("The token is in the system's keyring; downloads use it.")
    if os.environ.get("HF_TOKEN"):
        print("HF_TOKEN is set, too, and goes first.")
    return DONE


def get_model(model_id: str, place: str | None) -> int:
    """`kiv models get`: download a model that is not here yet; `place` is where from now on, None as before."""
    from kiv_engine import model_places
    from kiv_engine.download import Download, find_downloaded
    from kiv_engine.model_config import look_up_usable

    if model_id == "demo":
        raise BadInputError("The model demo is built in; there is nothing to download.")
    if not model_id.strip():
        raise BadInputError("No model is named; 'kiv models' lists some.")
    if Path(model_id).expanduser().exists():
        raise BadInputError(f"{model_id} is here already; use it as it is, with --model.")
    if place is not None:
        print(f"Models go to {model_places.choose_downloads_folder(place)} from now on.", file=sys.stderr)
    folder = find_downloaded(model_id)
    model = look_up_usable(model_id) if folder is None else look_up_spoilt(model_id, folder)
    if model is None:
        print(f"{model_id} is here already: {folder}")
        return DONE
    download = Download(model)
    size, missing = download.model.num_bytes, download.bytes_missing
    print(f"{model_id}: {size:,} bytes, {missing:,} of them to be downloaded.", file=sys.stderr)
    bar = ProgressBar(sys.stderr)
    with StopFlag() as stop:
        for event in download.run(stop):
            if isinstance(event, DownloadProgress):
                bar.show(event)
            else:
                bar.close()
                return after_download(model_id, event)
    raise AssertionError("a download ended without a terminal event")


def look_up_spoilt(model_id: str, folder: Path) -> "HubModel | None":
    """What the hub has of a model that is here, or None where that is whole, or may be and the hub can't be asked."""
    from kiv_engine.download import TOKENIZER_CONFIG, spoilt_files
    from kiv_engine.model_config import look_up_usable

    spoilt = spoilt_files(folder)
    if not spoilt:
        return None
    print(f"{model_id} is here, but damaged or without {', '.join(spoilt)}; asking the hub.", file=sys.stderr)
    try:
        return look_up_usable(model_id)
    except ModelNotFoundError as error:
        if spoilt != [TOKENIZER_CONFIG]:  # some models have none, and are whole without it
            raise
        print_error(str(error))
        return None


def after_download(model_id: str, event: Downloaded) -> int:
    """Say where it is, or that a later download goes on."""
    if event.stopped:
        print_error(
            f"Stopped after {event.bytes_done:,} of {event.bytes_total:,} bytes; the same command goes on from there."
        )
        return INTERRUPTED
    print(f"{model_id} is here: {event.folder}")
    return DONE


def list_models(options: argparse.Namespace) -> int:
    """`kiv models`: the catalogue, and what fits here."""
    from kiv_engine import doctor, fit, model_shape
    from kiv_engine.catalogue import read_catalogue
    from kiv_engine.hardware import inspect_hardware
    from kiv_engine.model_config import config_of_shape

    here = fit.room_of(inspect_hardware(doctor.models_folder()))
    room = fit.room_elsewhere(here, options.gpu, options.ram)
    elsewhere = doctor.elsewhere(room, options.gpu, options.ram)
    if not options.json:
        print(f"{elsewhere}\n" if elsewhere else "", end="")
        print(doctor.MODELS_HEADER.replace("this PC", "such a PC") if elsewhere else doctor.MODELS_HEADER)
    listed = []
    for entry in read_catalogue():
        shape = model_shape.ModelShape(config_of_shape(entry.shape))
        listed.append(doctor.ListedModel.of(entry, shape, room))
        if not options.json:
            print(listed[-1].line, flush=True)
    advice = "\n".join(doctor.recommendation(listed, is_here=not elsewhere))
    report = {
        "models": [each.report for each in listed],
        "recommended": [{"id": each.listed.entry.id, "why": each.why} for each in doctor.recommended(listed)],
        "advice": advice,
        "computed_for": elsewhere,
    }
    print(json.dumps(report) if options.json else f"\n{advice}")
    return DONE
