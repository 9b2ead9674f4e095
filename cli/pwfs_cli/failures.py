"""How failures end a command: one line and a hint on stderr, or a problem document."""

import sys
from typing import Any

from pwfs.model.errors import PatchworkError
from pwfs.model.exits import ExitCode, exit_code_of
from pwfs_cli.session import session


class ApiProblem(Exception):
    """The daemon refused; ``document`` is its problem document."""

    def __init__(self, document: dict[str, Any]) -> None:
        super().__init__(document.get("detail", ""))
        self.document = document


def report(error: PatchworkError | ApiProblem) -> ExitCode:
    """Tells of a failure and returns the exit status it ends with."""
    if isinstance(error, ApiProblem):
        document = error.document
    else:
        import msgspec

        from pwfs.model.problems import to_problem

        document = msgspec.to_builtins(to_problem(error))
    if session().is_json:
        import json

        # What the caller named may not be UTF-8; the document is.
        text = json.dumps(document, indent=2, ensure_ascii=False)
        print(text.encode(errors="replace").decode())
    else:
        sys.stderr.write(f"error: {document.get('detail')}\n")
        if document.get("hint"):
            sys.stderr.write(f"hint: {document['hint']}\n")
    return exit_code_of(str(document.get("category")))
