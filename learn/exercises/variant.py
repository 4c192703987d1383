"""A program of an attempt with another text, as with shorter deadlines: what the test needs to be quick or exact."""
import contextlib
import pathlib
import tempfile

from attempt import Attempt


@contextlib.contextmanager
def variant(attempt, text):
    """An Attempt that has this text. Its servers are servers of the first one, when it is checked how they ended."""
    with tempfile.TemporaryDirectory() as directory:
        source = pathlib.Path(directory, "variant.c")
        source.write_text(text, "utf-8")
        other = Attempt(source, attempt.compiler, attempt.wscheck)
        yield other
        attempt.servers += other.servers
