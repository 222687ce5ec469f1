"""Measure what the built-in model's search has learned without making a model of it: in a minute, not in ten.

    python tools/evaluate_demo_search.py BOOK.txt [--learned FILE] [--length 65536] [--cases 100] [--seeds 31,33]

Documents and questions are those of `evaluate_demo_model`, but for quotes. A document's sentences are scored as in
training: bags as the model makes them, votes with random addresses. Each line tells how often the sentence that holds
the fact has the best score: by votes alone, by bags alone, and by both; and how often the search says that there is
none. Of questions about what is nowhere, it tells how many are refused, too, if the threshold is such that 2 % or 5 %
of all others are.
A sentence ends here with each token that can end one, an abbreviation's full stop included.
"""

import argparse
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import torch
from demo_circuits import LENIENCE
from demo_facts import Asked
from demo_tokens import Features, encode, sentence_ends
from evaluate_demo_model import Case, documents, joined
from safetensors.torch import load_file
from tokenizers import Tokenizer
from train_demo_model import LEARNED, MODEL, ROOT, Search

from kiv_engine import Engine

REFUSED: Final = (0.02, 0.05)
WORD: Final = re.compile(r"\w+")


@dataclass
class Scored:
    """Questions of one skill. `found`: for each way of scoring, of each question; `margins`: above the threshold."""

    found: dict[str, list[bool]]
    margins: list[float]

    def rate(self, way: str) -> float:
        return sum(self.found[way]) / len(self.found[way])

    def refused(self, threshold: float = 0.0) -> float:
        return sum(margin < threshold for margin in self.margins) / len(self.margins)


def split(ids: list[int], ends: set[int]) -> list[list[int]]:
    """The tokens of each sentence, its end included."""
    sentences: list[list[int]] = [[]]
    for token in ids:
        sentences[-1].append(token)
        if token in ends:
            sentences.append([])
    return [sentence for sentence in sentences if sentence]


def place_of(case: Case, sentences: list[str]) -> int | None:
    """The sentence with the expected value that has most of the question's words."""
    asked = set(WORD.findall(case.question))
    holding = [place for place, sentence in enumerate(sentences) if case.expected and case.expected in sentence]
    return max(holding, key=lambda place: len(asked & set(WORD.findall(sentences[place]))), default=None)


def measure(search: Search, tokenizer: Tokenizer, text: str, cases: list[Case], found: dict[str, Scored]) -> None:
    """Add the cases about a document to those of their skills. A fact that was cut in two is left out."""
    tokens = split(encode(tokenizer, text), set(sentence_ends(tokenizer)))
    sentences = [joined(tokenizer.decode(sentence)) for sentence in tokens]
    places = [place_of(case, sentences) for case in cases]
    with torch.no_grad():
        seen = search.look([Asked(case.question, case.before) for case in cases], tokens)
        margins = search.margins(seen, torch.zeros(len(tokens))) + LENIENCE
    ways = {"votes": seen.votes, "bags": seen.bags, "both": seen.votes + seen.bags}
    for index, (case, place) in enumerate(zip(cases, places, strict=True)):
        if case.expected is not None and place is None:
            continue
        skill = found.setdefault(case.skill, Scored({way: [] for way in ways}, []))
        skill.margins.append(margins[index].item())
        for way, each in ways.items():
            skill.found[way].append(place is not None and int(each[index].argmax()) == place)


def summarize(found: dict[str, Scored]) -> dict[str, dict[str, float]]:
    """Rates of each skill, for a table and for JSON."""
    present = sorted(margin for skill, scored in found.items() if skill != "absent" for margin in scored.margins)
    table: dict[str, dict[str, float]] = {}
    for skill, scored in found.items():
        table[skill] = {"cases": len(scored.margins), "refused": scored.refused()}
        if skill == "absent":
            for share in REFUSED:
                table[skill][f"refused with {share:.0%} of others"] = scored.refused(present[int(share * len(present))])
        else:
            table[skill] |= {way: scored.rate(way) for way in scored.found}
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("book", type=Path)
    parser.add_argument("--learned", type=Path, default=ROOT / "tools" / "demo_learned" / LEARNED)
    parser.add_argument("--length", type=int, default=65_536)
    parser.add_argument("--cases", type=int, default=100)
    parser.add_argument("--seeds", default="31,33")
    options = parser.parse_args()
    torch.manual_seed(0)
    tokenizer = Tokenizer.from_file(str(MODEL / "tokenizer.json"))
    search = Search(tokenizer, Features(**load_file(options.learned)))
    engine, text = Engine.load("demo"), options.book.read_text(encoding="utf-8")
    found: dict[str, Scored] = {}
    for seed in map(int, options.seeds.split(",")):
        for planted in documents(engine, text, options.length, options.cases, seed):
            cases = [case for case in planted.cases if case.skill != "quote"]
            measure(search, tokenizer, planted.text, cases, found)
    table = summarize(found)
    for skill, rates in table.items():
        print(f"{skill:<8}", ", ".join(f"{name} {rate:.3f}" for name, rate in rates.items() if name != "cases"))
    print(json.dumps({"evaluation": "demo search", "length": options.length, "seeds": options.seeds, "skills": table}))


if __name__ == "__main__":
    main()
