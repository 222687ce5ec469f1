"""The command line of `kiv eval` and `kiv bench`: options only, so that --help needs no torch."""

import argparse
from typing import TYPE_CHECKING, Any

from kiv_engine.config import QUANTIZE_KINDS

if TYPE_CHECKING:
    Commands = argparse._SubParsersAction[Any]


def add_commands(commands: "Commands") -> tuple[argparse.ArgumentParser, argparse.ArgumentParser]:
    """Add both commands to the parser's; their own parsers."""
    evaluate = commands.add_parser(
        "eval",
        help="needles, phone books and other long-context tasks, beside other caches",
        description="Read made-up documents and ask about what stands in them, with this cache and with others.",
        prog="kiv eval",
    )
    evaluate.add_argument("--quick", action="store_true", help="up to 64K tokens, one document each")
    evaluate.add_argument(
        "--tasks", type=names, metavar="NAME,...", help="ask only these; an unknown name lists them all"
    )
    evaluate.add_argument("--lengths", type=names, metavar="N,...", help="of the documents, in tokens")
    evaluate.add_argument("--seeds", metavar="N", help="documents per length")
    evaluate.add_argument("--depths", metavar="N", help="parts of a document with a needle of each kind")
    evaluate.add_argument(
        "--peers", type=names, metavar="NAME,...",
        help="run only these caches, at every length; an unknown name lists them all",
    )  # fmt: skip
    add_common(evaluate, "kiv-eval")
    bench = commands.add_parser(
        "bench",
        help="decode, reading, bytes and recall, beside other caches",
        description="Measure time, memory and recall of this cache and of others.",
        prog="kiv bench",
    )
    bench.add_argument("--quick", action="store_true", help="fewer lengths and steps")
    bench.add_argument(
        "--predict", nargs="?", const="RTX 4070", metavar="GPU",
        help="add what a GPU should reach, by arithmetic: a name like 'RTX 4070', or MEMORY,PCIE in GB/s[,GB]",
    )  # fmt: skip
    add_common(bench, "kiv-bench")
    return evaluate, bench


def add_common(parser: argparse.ArgumentParser, folder: str) -> None:
    """What both commands take."""
    parser.add_argument(
        "--model", default="demo", metavar="demo|ID|FOLDER", help="the built-in model, a hub id or a folder"
    )
    parser.add_argument("--quantize", default="none", choices=QUANTIZE_KINDS)
    parser.add_argument("--device", default="auto", choices=("auto", "cpu", "cuda"))
    parser.add_argument("--out", default=folder, metavar="FOLDER", help=f"of the results, {folder} if not given")
    parser.add_argument("--json", action="store_true", help="print only the JSON line")


def names(text: str) -> tuple[str, ...]:
    """The names between commas."""
    return tuple(name.strip() for name in text.split(",") if name.strip())
