"""The entry point `cnncc`: the verbs, and what an error looks like."""

from __future__ import annotations

import atexit
import gc
import os
import sys
import traceback
import warnings
from collections.abc import Sequence
from importlib import import_module
from typing import Annotated, Any

import typer

from ..errors import CnnccError
from .console import visible

__all__ = ["main"]

INTERNAL_ERROR, INTERRUPTED = 3, 130
UsageError: Any = typer.BadParameter.__mro__[1]  # of the click that typer uses: the `click` package or its own copy
# In the order of --help: each verb, a module of this folder, and the function or the app in it.
VERBS = {
    "compile": "compile_", "run": "run", "verify": "verify", "inspect": "inspect", "profile": "profile",
    "bench": "bench", "opt": "opt", "check": "check", "summary": "summary", "show": "show", "export": "export",
    "fmt": "fmt", "zoo": "zoo", "doctor": "doctor", "cache": "cache", "ops": "ops", "version": "version",
}


def root(
        context: typer.Context,
        debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error; with any verb.")] = False,
        ) -> None:
    """Compiles trained convolutional networks and runs them.

    A typical session, from an ONNX file to a prediction:

        cnncc compile resnet50.onnx -o resnet50.plan
        cnncc run resnet50.plan --input cat.jpg --mean 0.485,0.456,0.406 --std 0.229,0.224,0.225 --top 5
        cnncc verify resnet50.plan --against resnet50.onnx
        cnncc inspect resnet50.plan

    `cnncc VERB --help` explains each verb with examples.
    """
    if context.invoked_subcommand is None:
        print(context.get_help())


def _app(arguments: Sequence[str]) -> typer.Typer:
    """The command line with the verb that is asked for; with all where that is none, as for --help."""
    app = typer.Typer(
        name="cnncc", add_completion=False, rich_markup_mode="markdown", pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
        epilog="Exit codes: 0 done; 1 verification failed; 2 wrong usage or input; 3 a bug in cnncc.")
    app.callback(invoke_without_command=True)(root)
    for verb in arguments[:1] if arguments and arguments[0] in VERBS else VERBS:
        found = getattr(import_module(f".{verb}", __package__), VERBS[verb])
        if isinstance(found, typer.Typer):
            app.add_typer(found, name=verb)
        else:
            app.command(verb)(found)
    return app


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the command line and exits the process with its exit code."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in given
    given = [a for a in given if a != "--debug"]
    atexit.register(gc.freeze)  # so that the interpreter ends without a last search for cycles: a tenth of a compile
    warnings.showwarning = _show_warning  # type: ignore[assignment]  # takes more, uses less
    try:
        code = _app(given)(given, standalone_mode=False, prog_name="cnncc")
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # so that the flush at exit is silent
        code = 0
    except (KeyboardInterrupt, typer.Abort):
        code = INTERRUPTED
    except Exception as error:
        if debug:
            traceback.print_exc()
        code = _explain(error)
    sys.exit(code if isinstance(code, int) else 0)


def _explain(error: Exception) -> int:
    """Prints one clear message on stderr and returns the exit code."""
    if isinstance(error, UsageError):
        context = getattr(error, "ctx", None)
        where = context.command_path if context else "cnncc"
        return _fail(f"{error.format_message().rstrip('.')} (see '{where} --help')", 2)
    if isinstance(error, CnnccError):
        return _fail(str(error), error.exit_code)
    if isinstance(error, OSError) and error.strerror:
        return _fail(f"{error.strerror}: '{error.filename}'" if error.filename else error.strerror, 2)
    if isinstance(error, MemoryError):
        return _fail("there is not enough memory for this", 2)
    return _fail(f"internal error: {type(error).__name__}: {error}; this is a bug in cnncc, --debug shows where",
                 INTERNAL_ERROR)


def _fail(message: str, code: int) -> int:
    print(f"error: {visible(message)}", file=sys.stderr)
    return code


def _show_warning(message: Warning | str, *_: object) -> None:
    print(f"warning: {visible(str(message))}", file=sys.stderr)
