"""What `kiv eval` found, as one JSON object, as Markdown and as heat maps."""

import datetime
from collections.abc import Iterable
from typing import Any, Final

from kiv_engine.evaluation.figures import by_depth, summarize
from kiv_engine.evaluation.machine import describe_machine
from kiv_engine.evaluation.markdown import number, table
from kiv_engine.evaluation.plots import HeatMap, heat_maps, short
from kiv_engine.evaluation.readers import BY_NAME
from kiv_engine.evaluation.run import Evaluation
from kiv_engine.evaluation.tasks import NEEDLE_TASKS

EXPLANATION: Final = (
    'Every document is read before a question is known. "right" is the mean share of what an answer must hold; '
    '"in passages" is that share of the passages below the answers, whatever these say, where it stands somewhere: '
    'what the model looked at, able to answer or not; "with '
    'everything" is the same context asked again with every cold token retrieved; "agreement" is the share of the '
    'parts found then that were found without it, too, and "parts" how many there were. "95 %" is the Wilson interval '
    "of as many independent questions. Those about one document are not independent: with few documents the true range "
    "is wider."
)


def make_report(evaluation: Evaluation, model: str, *, stopped: bool) -> dict[str, Any]:
    """Everything that was found, of the documents of this run."""
    plan = evaluation.plan
    return {
        "report": "eval",
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "model": model,
        "machine": describe_machine(),
        "complete": not stopped,
        "seeds": plan.seeds,
        "depths": plan.num_depths,
        "tasks": list(plan.tasks),
        "default_mode": {str(length): evaluation.default_mode(length) for length in plan.lengths},
        "left_out": [
            {"peer": name, "length": length, "reason": reason} for name, length, reason in evaluation.left_out
        ],
        "lengths": {str(length): _at_length(evaluation, length) for length in plan.lengths},
    }


def _at_length(evaluation: Evaluation, length: int) -> dict[str, Any]:
    """Rows of every cache at one length."""
    keys = [key for (of, _), key in evaluation.documents.items() if of == length]
    rows = {}
    for name in evaluation.plan.entrants:
        found = _of(evaluation, keys, name, everything=False)
        if found:
            rows[name] = _row(evaluation, keys, name, found)
    return rows


def _of(evaluation: Evaluation, keys: Iterable[str], name: str, *, everything: bool) -> list[dict[str, Any]]:
    answers = [answer for key in keys for answer in evaluation.journal.answers_of(key, name, everything)]
    return [answer for answer in answers if answer["task"] in evaluation.plan.tasks]


def _row(evaluation: Evaluation, keys: list[str], name: str, found: list[dict[str, Any]]) -> dict[str, Any]:
    ceiling = _of(evaluation, keys, name, everything=True)
    readings = [reading for key in keys if (reading := evaluation.journal.readings.get((key, name)))]
    tokens, seconds = (sum(reading[part] for reading in readings) for part in ("tokens", "seconds"))
    tasks = {}
    for task in evaluation.plan.tasks:
        if some := [answer for answer in found if answer["task"] == task]:
            tasks[task] = summarize(some, [answer for answer in ceiling if answer["task"] == task])
    return {
        "read_tokens": tokens,
        "read_tokens_per_s": tokens / seconds if seconds else None,
        "all": summarize(found, ceiling),
        "tasks": tasks,
        "needles_by_depth": by_depth(found, evaluation.plan.num_depths),
        "ceiling_by_depth": by_depth(ceiling, evaluation.plan.num_depths) if ceiling else None,
    }


# -- Markdown ----------------------------------------------------------------------------------------------------------


def label_of(name: str, default_mode: str) -> str:
    """A cache's name for people; the mode that is the default at this length says so."""
    label = BY_NAME[name].label if name in BY_NAME else name
    return f"{label} (default)" if name == default_mode else label


def overview(report: dict[str, Any]) -> str:
    """A row per length and cache."""
    head = (
        "tokens", "cache", "read, tokens/s", "first token, s", "ms a token", "right", "95 %", "in passages",
        "with everything", "agreement", "parts",
    )  # fmt: skip
    rows = []
    for length, by_name in report["lengths"].items():
        for name, row in by_name.items():
            found = row["all"]
            low, high = found["interval"]
            rows.append((
                f"{int(length):,}",
                label_of(name, report["default_mode"][length]),
                number(row["read_tokens_per_s"], ",.0f"),
                number(found.get("first_token_s")),
                number(None if (token_s := found.get("token_s")) is None else token_s * 1e3),
                number(found["rate"]),
                f"{low:.2f}–{high:.2f}",
                number(found.get("shown")),
                number(found.get("ceiling")),
                number(found.get("agreement"), ".3f"),
                str(found["ceiling_parts"]) if "ceiling_parts" in found else "–",
            ))  # fmt: skip
    return table(head, rows)


def task_table(report: dict[str, Any]) -> str:
    """A row per length and task: the default's rate, its ceiling, agreement, and the peers' rates."""
    peers = [
        name for name in BY_NAME
        if not BY_NAME[name].ours and any(name in by_name for by_name in report["lengths"].values())
    ]  # fmt: skip
    head = (
        "tokens",
        "task",
        "questions",
        "default",
        "in passages",
        "with everything",
        "agreement",
        *(BY_NAME[p].label for p in peers),
    )
    rows = []
    for length, by_name in report["lengths"].items():
        default = by_name.get(report["default_mode"][length], {}).get("tasks", {})
        for task in report["tasks"]:
            others = [by_name.get(peer, {}).get("tasks", {}).get(task, {}) for peer in peers]
            mine = default.get(task, {})
            if mine or any(others):
                rows.append((
                    f"{int(length):,}",
                    task,
                    str((mine or next(filter(None, others)))["questions"]),
                    number(mine.get("rate")),
                    number(mine.get("shown")),
                    number(mine.get("ceiling")),
                    number(mine.get("agreement"), ".3f"),
                    *(number(other.get("rate")) for other in others),
                ))  # fmt: skip
    return table(head, rows)


def as_markdown(report: dict[str, Any]) -> str:
    """The whole report for people."""
    parts = [
        f"# Evaluation of {report['model']}",
        f"{report['date']}; {report['seeds']} documents per length, needles at {report['depths']} depths."
        + ("" if report["complete"] else " The run was stopped; these are the answers so far."),
        EXPLANATION,
        overview(report),
        task_table(report),
    ]  # fmt: skip
    if report["left_out"]:
        parts.append("Not run:\n\n" + "\n".join(left_out_lines(report)))
    return "\n\n".join(parts) + "\n"


def left_out_lines(report: dict[str, Any]) -> list[str]:
    """What was not run, and why."""
    return [
        f"- {BY_NAME[each['peer']].label if each['peer'] in BY_NAME else each['peer']}"
        + (f" at {each['length']:,} tokens" if each["length"] else "")
        + f": {each['reason']}."
        for each in report["left_out"]
    ]


# -- plots -------------------------------------------------------------------------------------------------------------


def needle_maps(report: dict[str, Any]) -> str | None:
    """Heat maps of the needle tasks, length by depth, one for each cache; None where no needle was asked for."""
    if not set(NEEDLE_TASKS) & set(report["tasks"]):
        return None
    depths = report["depths"]
    columns = [f"{100 * (part + 0.5) / depths:.0f} %" for part in range(depths)]
    names = [name for name in BY_NAME if any(name in by_name for by_name in report["lengths"].values())]
    panels = []
    for name in names:
        rows = {length: by_name[name] for length, by_name in report["lengths"].items() if name in by_name}
        labels = [short(int(length)) for length in rows]
        panels.append(HeatMap(BY_NAME[name].label, labels, columns, [row["needles_by_depth"] for row in rows.values()]))
        if BY_NAME[name].ours:
            rates = [row["ceiling_by_depth"] for row in rows.values()]
            panels.append(HeatMap(f"{BY_NAME[name].label}, with everything", labels, columns, rates))
    return heat_maps(panels) if panels else None
