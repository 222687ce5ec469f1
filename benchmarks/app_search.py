"""Searching 20,000 messages as somebody types: a search for every letter, in a file of chats like the app's own.

    python benchmarks/app_search.py [--messages 20000] [--runs 3]

Chats of 20 questions with their answers, of words as often as in English (the n-th 1/n as often as the first). What is
typed are common and rare words, two together, and such as are nowhere; each search is one of the app's thread of chats,
from the words to the keys of the chats. The best of the runs counts for each search, the slowest search in the end.
"""

import argparse
import json
import random
import statistics
import tempfile
import time
from collections.abc import Iterator
from itertools import accumulate
from pathlib import Path
from typing import Final

from app.history import ChatFile
from app.saved_chats import SavedChat, SavedExchange

LIMIT_MS: Final = 50
VOCABULARY: Final = 20_000
EXCHANGES: Final = 20
QUESTION_WORDS: Final = 12
ANSWER_WORDS: Final = 80
LETTERS: Final = "etaoinshrdlucmwfgypb"


def vocabulary(rng: random.Random) -> list[str]:
    """Words of 1 to 10 letters, the commonest short."""
    words = dict.fromkeys(LETTERS[:3])
    while len(words) < VOCABULARY:
        longest = 3 + len(words) // 500
        words["".join(rng.choices(LETTERS, range(len(LETTERS), 0, -1), k=rng.randint(2, min(10, longest))))] = None
    return list(words)


def fill(path: Path, messages: int, words: list[str], rng: random.Random) -> None:
    """Write a file of chats."""
    weights = list(accumulate(1 / rank for rank in range(1, len(words) + 1)))

    def text(count: int) -> str:
        return " ".join(rng.choices(words, cum_weights=weights, k=count))

    file = ChatFile(path)
    for number in range(messages // (2 * EXCHANGES)):
        file.save_chat(SavedChat(f"chat {number}", text(4)))
        for at in range(EXCHANGES):
            above = at - 1 if at else None
            said = SavedExchange(at, above, text(QUESTION_WORDS), text(ANSWER_WORDS), "done")
            file.save_exchange(f"chat {number}", said)
    file.close()


def typed(words: list[str]) -> Iterator[str]:
    """What stands in the field after each letter."""
    places = (0, 5, 20, 100, 1_000, 5_000, len(words) - 1)
    single = [words[place] for place in places if place < len(words)]
    for line in (*single, f"{words[0]} {words[1]}", f"{words[20]} {words[-1]}", "zzzzz", "etaoinxz"):
        for end in range(1, len(line) + 1):
            yield line[:end].strip()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--messages", type=int, default=20_000)
    parser.add_argument("--runs", type=int, default=3)
    options = parser.parse_args()
    rng = random.Random(0)
    words = vocabulary(rng)
    times: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "chats.sqlite3")
        fill(path, options.messages, words, rng)
        size = path.stat().st_size
        file = ChatFile(path)
        for query in list(typed(words)) * options.runs:
            begin = time.perf_counter()
            file.search(query)
            times[query] = min(times.get(query, float("inf")), 1e3 * (time.perf_counter() - begin))
        file.close()
    slowest = max(times, key=lambda query: times[query])
    print(f"{len(times)} searches, median {statistics.median(times.values()):.1f} ms")
    print(f"slowest: {slowest!r} {times[slowest]:.1f} ms  limit {LIMIT_MS}")
    result = {
        "benchmark": "app_search",
        "messages": options.messages,
        "file_bytes": size,
        "runs": options.runs,
        "searches": len(times),
        "median_ms": statistics.median(times.values()),
        "slowest_ms": times[slowest],
        "slowest": slowest,
        "within_limit": times[slowest] < LIMIT_MS,
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
