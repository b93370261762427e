"""Backends of a plug-in that the Ray tests install: each misbehaves in one way."""

import os
import time
from pathlib import Path

from lgdea.errors import EvidenceError
from lgdea.evidence.backends.base import Response


class Echo:
    """Answers with its process id; text may ask it to sleep, to die or to fail for good."""

    name = "echo"
    needs_prompt = True

    def __init__(self, seconds=0.0):
        self._seconds = seconds

    def respond(self, requests):
        for request in requests:
            if request.text == "die":
                os.kill(os.getpid(), 9)
            if request.text == "fatal":
                raise EvidenceError("the server refuses the key", remedy="set LGDEA_API_KEY")
            if request.text == "odd":
                raise RuntimeError("no idea")
            time.sleep(self._seconds)
            said = [str(os.getpid()), request.text, request.prompt[0]["content"], str(request.attempt)]
            yield Response(request.request_id, "|".join(said), tokens=3)
            if request.text == "twice":
                yield Response(request.request_id, "|".join(said), tokens=3)

    def describe(self):
        return {"backend": self.name, "model": "echo-1"}


def echo(seconds=0.0):
    return Echo(seconds)


def dead():
    os._exit(1)


def second_dies(flag):
    """The first process that makes it is fine, all others die."""
    file = Path(flag)
    if file.exists() and file.read_text() != str(os.getpid()):
        os._exit(1)
    file.write_text(str(os.getpid()))
    return Echo()


def differs():
    backend = Echo()
    backend.describe = lambda: {"backend": "echo", "model": f"made in {os.getpid()}"}
    return backend
