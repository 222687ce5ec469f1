"""The command line. Progress and messages go to stderr, answers to stdout.

Exit codes: 0 done, 1 failed while running, 2 bad input, 130 Ctrl-C.
"""

import os
import sys

from kiv_engine.commands import ask, contexts, evaluate, models
from kiv_engine.errors import EngineError
from kiv_engine.terminal import (
    BAD_INPUT,
    DONE,
    FAILED,
    INTERRUPTED,
    BadInputError,
    Parser,
    make_streams_lenient,
    print_error,
)


def build_parser() -> Parser:
    """All commands and options."""
    parser = Parser(
        prog="kiv",
        description="Talk with a whole book in one context of a local model.",
        epilog="From the project's folder, ./kiv opens the app, ./kiv app FILE... with files, and ./kiv demo shows it.",
    )
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    ask.add_parser(commands)
    contexts.add_parser(commands)
    models.add_parsers(commands)
    evaluate.add_parsers(commands)
    return parser


def main(arguments: list[str] | None = None) -> int:
    """Run a command; returns the exit code."""
    parser = build_parser()
    try:
        make_streams_lenient()
        options = parser.parse_args(arguments)
        if options.command is None:
            parser.print_help()
            return DONE
        code: int = options.run(options)
        sys.stdout.flush()  # here, where a closed pipe is caught
        return code
    except BadInputError as error:
        print_error(str(error))
        return BAD_INPUT
    except EngineError as error:
        print_error(str(error))
        return BAD_INPUT
    except KeyboardInterrupt:
        print_error("Stopped.")
        return INTERRUPTED
    except BrokenPipeError:
        # The reader of our output is gone. What is still buffered goes nowhere, so that leaving is quiet, too.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    except Exception as error:  # noqa: BLE001 - the last boundary: no traceback reaches a user
        print_error(f"{type(error).__name__}: {error}")
        return FAILED


if __name__ == "__main__":
    sys.exit(main())
