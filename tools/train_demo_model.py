"""Make the built-in model: its circuits are designed, and what they look for is learned.

    python tools/train_demo_model.py FOLDER [--minutes N] [--seed N] [--texts FOLDER] [--start FILE]
    python tools/train_demo_model.py FOLDER --export TARGET
    python tools/train_demo_model.py tools/demo_learned --export resources/models/kiv-demo

`demo_circuits` writes down every weight of the model but those of its search: how much each token weighs in the bag of
a sentence's words and in a question's votes, how tokens and pairs of tokens are projected into the bag, what votes
count beside it, and how well a sentence must match a question. Those are learned here from generated facts, with the
sentences of the batch as negatives, as in dense passage retrieval (https://arxiv.org/abs/2004.04906); questions about
what is nowhere must match none. Sentences of prose count as often as if there were up to `MANY` of them (a logit
adjustment), so that the right one also wins in a long document.

FOLDER keeps the checkpoint, written every 20 seconds; a run that was killed goes on from it. An export leaves there, in
learned.safetensors, what was learned: with that file alone it can be repeated, as in the third line, which writes the
model that is shipped. So the designed part can be changed without learning anew. A run with --start begins with such a
file, and what it exports is the mean of both (as in https://arxiv.org/abs/1803.05407), which does better in texts that
are unlike the generated ones. With --texts, how addresses spread is measured on them anew; --minutes 0 does only that.
"""

import argparse
import json
import math
import random
import shutil
import time
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import torch
from demo_addresses import even_addresses
from demo_circuits import BEFORE_SHARE, FOLLOWING_LENGTH, FOLLOWING_LENIENCE, design
from demo_facts import Asked, FactMaker, archive_sentences, encode_sentences
from demo_layout import CODE, IM_END, LENGTH_UNIT, SHARPER, VOCABULARY, Flag
from demo_lines import read_lines
from demo_tokens import (
    LEAST_LOG_WEIGHT,
    Features,
    bag,
    embedding,
    encode_question,
    fixed_tokens,
    make_plan,
    new_features,
    token_codes,
    wordy,
)
from demo_votes import ASKED_SHARE, STRICTER, Voting
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy

ROOT: Final = Path(__file__).resolve().parents[1]
MODEL: Final = ROOT / "resources" / "models" / "kiv-demo"
TOKENIZER_FILES: Final = ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja", "generation_config.json")
MANY: Final = 40_000
"""About as many sentences as a million tokens have."""
MANY_NEAR: Final = 8.0
"""Facts other than the right one count up to so many times."""
LEAST_PROSE: Final = 100
MOST_PROSE: Final = 1_500
"""Sentences of prose in a batch, which stand for up to MANY."""
STEPS_PER_MAKER: Final = 150
ARCHIVES_PER_MAKER: Final = 4
PROSE_ARCHIVE: Final = 99
ABSENT_WEIGHT: Final = 1.5
LEARNED: Final = "learned.safetensors"
START: Final = "start.safetensors"
SAVE_SECONDS: Final = 20.0
RATES: Final = {
    "log_weights": 0.02,
    "tokens": 8e-4,
    "pairs": 1.5e-3,
    "pair units": 5e-3,
    "metric": 1e-3,
    "threshold": 1e-3,
    "sharpness": 3e-3,
    "votes": 1e-2,
}


class Search(nn.Module):
    """What is learned, as parameters: which of a batch's sentences answers which question."""

    def __init__(self, tokenizer: Tokenizer, features: Features) -> None:
        super().__init__()
        self.tokenizer = tokenizer
        self.register_buffer("codes", token_codes(tokenizer), persistent=False)
        self.register_buffer("fixed", fixed_tokens(tokenizer), persistent=False)
        self.register_buffer("wordy", wordy(tokenizer, self.codes), persistent=False)
        self.first = features
        self.log_weights = nn.Parameter(features.log_weights.clone())
        self.register_buffer("silent", (features.tokens == 0).all(1), persistent=False)
        self.tokens, self.pairs = nn.Parameter(features.tokens.clone()), nn.Parameter(features.pairs.clone())
        self.pair_gates = nn.Parameter(features.pair_gates.clone())
        self.pair_values = nn.Parameter(features.pair_values.clone())
        self.metric = nn.Parameter(features.metric.clone())
        self.bag_threshold = nn.Parameter(features.bag_threshold.clone())
        self.threshold = nn.Parameter(features.threshold.clone())
        self.heft_threshold = nn.Parameter(features.heft_threshold.clone())
        self.log_missing = nn.Parameter(features.missing_threshold.log())
        self.log_sharpness = nn.Parameter(features.sharpness.log())
        self.log_step = nn.Parameter(features.sharpness.log())
        self.decision_metric = nn.Parameter(features.decision_metric.clone())
        self.log_search_votes = nn.Parameter(features.search_votes.log())
        self.log_decision_votes = nn.Parameter(features.decision_votes.log())
        self.vote_log_weights = nn.Parameter(features.vote_log_weights.clone())
        table = embedding(tokenizer, self.codes, features)
        asking = table[:, [Flag.REQUEST_BEGINS, Flag.BEGINS_QUESTION]].sum(1) > 0
        self.register_buffer("asking", asking, persistent=False)
        self.voting = Voting(tokenizer, self.codes, table)

    def features(self) -> Features:
        return Features(
            torch.where(self.fixed, self.first.log_weights, self.log_weights),
            torch.where(self.fixed, self.first.vote_log_weights, self.vote_log_weights),
            self.tokens * ~self.silent[:, None],
            self.pairs,
            self.pair_gates,
            self.pair_values,
            self.metric,
            self.bag_threshold,
            self.threshold,
            self.heft_threshold,
            self.log_missing.exp(),
            self.log_sharpness.exp(),
            self.decision_metric,
            self.log_search_votes.exp(),
            self.log_decision_votes.exp(),
            self.first.addresses,
        )

    def forward(self, questions: list[Asked], sentences: list[list[int]], crowd: Tensor) -> tuple[Tensor, Tensor]:
        """Logits of which sentence answers (questions, sentences), and of whether any does (questions,).

        crowd: of how many sentences each stands for, the logarithm (sentences,).
        """
        seen = self.look(questions, sentences)
        return seen.bags + seen.votes + crowd, self.log_step.exp() * self.margins(seen, crowd)

    def look(self, questions: list[Asked], sentences: list[list[int]]) -> "Seen":
        """What the search sees of questions in a document of these sentences."""
        features = self.features()
        asked = [self._encode(question.text) for question in questions]
        before = [self._encode(question.before) for question in questions if question.before is not None]
        follows = torch.tensor([question.before is not None for question in questions])
        keys, _ = bag(features, self.codes, self.wordy, sentences)
        longer = follows * (FOLLOWING_LENGTH * LENGTH_UNIT)
        queries, hefts = bag(features, self.codes, self.wordy, asked, self.asking, longer)
        votes, missing = self._votes(features, asked + before, sentences)
        voted, earlier = votes.split([len(asked), len(before)])
        share = BEFORE_SHARE * follows[:, None]
        voted = (1 - share) * voted + share * torch.zeros_like(voted).index_put((follows.nonzero()[:, 0],), earlier)
        missing = missing[: len(asked)] - FOLLOWING_LENIENCE * follows
        nowhere = features.threshold + features.heft_threshold * hefts + queries @ features.bag_threshold
        return Seen(
            bags=features.sharpness * (queries @ features.metric @ keys.T),
            votes=features.sharpness * features.search_votes * voted,
            match=queries @ features.decision_metric @ keys.T + features.decision_votes * voted,
            nowhere=nowhere + features.missing_threshold * missing,
        )

    def _encode(self, question: str) -> list[int]:
        return [*encode_question(self.tokenizer, question), IM_END]

    def margins(self, seen: "Seen", crowd: Tensor) -> Tensor:
        """By how much the best match is above the threshold (questions,); crowd as above."""
        sharp = SHARPER * self.log_sharpness.exp()
        return (sharp * seen.match + crowd).logsumexp(1) / sharp - seen.nowhere

    def _votes(self, features: Features, asked: list[list[int]], sentences: list[list[int]]) -> tuple[Tensor, Tensor]:
        """What of the questions' votes each sentence gets (questions, sentences), and what is missing (questions,).

        A vote is the mean of addresses, which are codes by chance: so each sentence gets a little of every vote.
        """
        with torch.no_grad():
            found = self.voting.votes(asked, sentences, features.vote_log_weights)
            addresses = torch.randn(len(sentences), CODE)
            addresses /= addresses.norm(dim=1, keepdim=True)
            each = torch.cat((found.shares @ addresses, STRICTER * found.missing[:, None]), dim=1)
        begins = torch.cat((torch.ones(1, dtype=torch.bool), found.owner[1:] != found.owner[:-1]))
        weights = features.vote_log_weights.exp()[found.token]
        weights = torch.where(begins & self.asking[found.token], math.exp(LEAST_LOG_WEIGHT), weights)
        total = torch.zeros(len(asked), CODE + 1).index_add(0, found.owner, weights[:, None] * each)
        mean = ASKED_SHARE * total / torch.zeros(len(asked)).index_add(0, found.owner, weights)[:, None]
        return mean[:, :CODE] @ addresses.T, mean[:, CODE]


@dataclass(frozen=True)
class Seen:
    """What the search sees of questions in a document.

    Attributes:
        bags, votes: their parts in the logits of which sentence answers (questions, sentences).
        match: how well each sentence matches (questions, sentences).
        nowhere: how well it must (questions,).
    """

    bags: Tensor
    votes: Tensor
    match: Tensor
    nowhere: Tensor


@dataclass
class Progress:
    """Where a run stands; kept in the checkpoint."""

    step: int = 0
    seconds: float = 0.0


@dataclass
class Counts:
    """Right answers since the last report."""

    facts: int = 0
    facts_right: int = 0
    absent: int = 0
    absent_right: int = 0
    loss: float = 0.0
    steps: int = 0

    def line(self) -> str:
        return f"loss {self.loss / self.steps:.3f} facts {self.facts_right / self.facts:.3f} " + (
            f"absent {self.absent_right / self.absent:.3f}"
        )


class Training:
    """The search, its optimizer and its progress."""

    def __init__(self, folder: Path, minutes: float, seed: int, texts: list[str]) -> None:
        torch.manual_seed(seed)
        self.folder, self.seed, self.limit = folder, seed, minutes * 60
        self.tokenizer = Tokenizer.from_file(str(MODEL / TOKENIZER_FILES[0]))
        read_lines(self.tokenizer)
        self.prose = self._prose(texts)
        counts = torch.bincount(torch.tensor([id for ids in self.prose for id in ids]), minlength=VOCABULARY)
        start = folder / START
        self.start = Features(**load_file(start)) if start.exists() else None
        features = self.start or new_features(self.tokenizer, counts)
        if self.start is None or texts:
            features = replace(features, addresses=even_addresses(make_plan(self.tokenizer, features), self.prose))
        self.search = Search(self.tokenizer, features)
        search = self.search
        groups: dict[str, list[nn.Parameter]] = {
            "log_weights": [search.log_weights, search.vote_log_weights],
            "tokens": [search.tokens],
            "pairs": [search.pairs],
            "pair units": [search.pair_gates, search.pair_values],
            "metric": [search.metric, search.decision_metric],
            "threshold": [search.threshold, search.heft_threshold, search.bag_threshold],
            "sharpness": [search.log_sharpness, search.log_step],
            "votes": [search.log_search_votes, search.log_decision_votes, search.log_missing],
        }
        named: list[dict[str, Any]] = [{"params": groups[name], "lr": rate} for name, rate in RATES.items()]
        self.optimizer = torch.optim.Adam(named, betas=(0.9, 0.98))
        self.progress = Progress()

    @cached_property
    def held_out(self) -> FactMaker:
        """Makes the facts, of other names and archives, that what is learned is tried on."""
        return FactMaker(self.tokenizer, 9_999_999, range(900, 904))

    def _prose(self, texts: list[str]) -> list[list[int]]:
        """Sentences without facts: of an archive, and of the given texts."""
        found = archive_sentences(self.tokenizer, PROSE_ARCHIVE)
        for text in texts:
            found += encode_sentences(self.tokenizer, text)
        return found

    def maker(self) -> FactMaker:
        """The maker of the present step's facts: another one every now and then, with other archives (100 to 799)."""
        number = self.seed * 1_000_003 + self.progress.step // STEPS_PER_MAKER
        archives = [100 + (number * ARCHIVES_PER_MAKER + index) % 700 for index in range(ARCHIVES_PER_MAKER)]
        return FactMaker(self.tokenizer, number, archives)

    def loss(self, maker: FactMaker, rng: random.Random, counts: Counts) -> Tensor:
        """Cross entropy of a batch's questions over its sentences and none of them."""
        document = maker.document()
        facts = document.facts
        asked = [*(fact.question for fact in facts), *document.absent]
        prose = round(math.exp(rng.uniform(math.log(LEAST_PROSE), math.log(MOST_PROSE))))
        sentences = [*(fact.tokens for fact in facts), *document.titles]
        sentences += rng.sample(self.prose, min(prose, len(self.prose)))
        many = max(len(sentences), math.exp(rng.uniform(math.log(300), math.log(MANY))))
        crowd = torch.zeros(len(sentences))
        crowd[len(facts) :] = math.log(many / len(sentences))
        logits, matches = self.search(asked, sentences, crowd)
        present = torch.arange(len(asked)) < len(facts)
        near = math.log(rng.uniform(1, MANY_NEAR)) * (1 - torch.eye(len(facts)))
        logits = logits[: len(facts)] + torch.cat((near, torch.zeros(len(facts), logits.shape[1] - len(facts))), 1)
        targets = torch.arange(len(facts))
        decided = binary_cross_entropy_with_logits(
            matches, present.float(), weight=torch.where(present, 1.0, ABSENT_WEIGHT)
        )
        right, hits = logits.argmax(1) == targets, matches > 0
        counts.facts, counts.absent = counts.facts + len(facts), counts.absent + len(document.absent)
        counts.facts_right += int((right & hits[present]).sum())
        counts.absent_right += int((~hits[~present]).sum())
        loss = cross_entropy(logits, targets) + decided
        counts.loss, counts.steps = counts.loss + loss.item(), counts.steps + 1
        return loss

    def step(self, maker: FactMaker, counts: Counts) -> None:
        self.set_rates()
        self.optimizer.zero_grad()
        self.loss(maker, random.Random(self.seed * 1_000_003 + self.progress.step), counts).backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()
        self.progress.step += 1

    def set_rates(self) -> None:
        """Flat over a third of the time, then down."""
        scale = min(1.0, 0.05 + (1 - self.progress.seconds / self.limit) * 1.5)
        for group, rate in zip(self.optimizer.param_groups, RATES.values(), strict=True):
            group["lr"] = rate * scale

    def run(self) -> None:
        self.resume()
        begun, saved, counts, maker = time.monotonic() - self.progress.seconds, time.monotonic(), Counts(), self.maker()
        while self.progress.seconds < self.limit:
            if self.progress.step % STEPS_PER_MAKER == 0:
                maker = self.maker()
            self.step(maker, counts)
            self.progress.seconds = time.monotonic() - begun
            if time.monotonic() - saved > SAVE_SECONDS:
                self.report(counts)
                self.save()
                saved, counts = time.monotonic(), Counts()
        self.save()

    def report(self, counts: Counts) -> None:
        held = Counts()
        with torch.no_grad():
            for number in range(4):
                self.loss(self.held_out, random.Random(number), held)
        minutes = self.progress.seconds / 60
        print(f"{minutes:5.1f} min step {self.progress.step} {counts.line()} | held out {held.line()}", flush=True)

    def save(self) -> None:
        state: dict[str, Any] = {
            "search": self.search.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "progress": vars(self.progress),
        }
        fresh = self.folder / "checkpoint.new"
        torch.save(state, fresh)
        fresh.replace(self.folder / "checkpoint.pt")

    def resume(self) -> bool:
        """Go on from the checkpoint, if there is one."""
        path = self.folder / "checkpoint.pt"
        if not path.exists():
            return False
        state = torch.load(path, weights_only=True)
        self.search.load_state_dict(state["search"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.progress = Progress(**state["progress"])
        return True


def export(training: Training, target: Path) -> None:
    """The model as a folder: safetensors in bfloat16, tokenizer, chat template."""
    sample = [id for ids in training.prose[:60] for id in ids]
    model = design(training.tokenizer, load_learned(training), sample)
    target.mkdir(parents=True, exist_ok=True)
    model.to(torch.bfloat16).save_pretrained(target)
    for name in TOKENIZER_FILES:
        if target.resolve() != MODEL.resolve():
            shutil.copyfile(MODEL / name, target / name)
    training.tokenizer.save(str(target / TOKENIZER_FILES[0]))


def load_learned(training: Training) -> Features:
    """What the folder's checkpoint has learned, which is then kept by itself; without one, what was so kept."""
    kept = training.folder / LEARNED
    if training.resume():
        tensors = {name: tensor.detach() for name, tensor in vars(training.search.features()).items()}
        if training.start:
            mean = {name: (tensor + getattr(training.start, name)) / 2 for name, tensor in tensors.items()}
            tensors = mean | {"addresses": tensors["addresses"]}  # They are measured, not learned.
        save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, kept)
        return Features(**tensors)
    if not kept.exists():
        raise SystemExit(f"{training.folder} has neither checkpoint.pt nor {LEARNED}: run this without --export first.")
    return Features(**load_file(kept))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--texts", type=Path, help="a folder of .txt files; their sentences are what is not asked for")
    parser.add_argument("--start", type=Path, metavar="FILE", help="begin with what was learned before, kept in a file")
    parser.add_argument("--export", type=Path, metavar="TARGET")
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    if options.start:
        shutil.copyfile(options.start, options.folder / START)
    texts = [path.read_text(encoding="utf-8") for path in sorted(options.texts.glob("*.txt"))] if options.texts else []
    training = Training(options.folder, options.minutes, options.seed, texts)
    if options.export:
        export(training, options.export)
        return
    training.run()
    print(json.dumps({"folder": str(options.folder), **vars(training.progress)}))


if __name__ == "__main__":
    main()
