"""Benchmarks and their items. No repr and no message shows the content of an item."""

from __future__ import annotations

import io
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from echorl.lab.evaluate.benchmarks.layouts import Entry, Layout
from echorl.tasks.rows import Location, Row, check_columns

if TYPE_CHECKING:
    from PIL.Image import Image

    from echorl.lab.evaluate.benchmarks.of_tasks import TaskGrader
    from echorl.tasks.verify import Grader

Message = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Item:
    """A question with its reference answer.

    Attributes:
        id: unique in its benchmark, and independent of the order of the rows.
        prompt: chat messages, or a string where the task makes prompts without a chat template.
        reference_answer: the right answer as the grader takes it.
        images: PIL images, which stand before the text of the user message.
    """

    id: str
    prompt: str | list[Message] = field(repr=False)
    reference_answer: str = field(repr=False)
    images: tuple[Image, ...] = field(default=(), repr=False)


@dataclass(frozen=True, kw_only=True)
class Benchmark(ABC):
    """A set of questions and the grader of their answers.

    Attributes:
        name: the name on the command line.
        title: the name in tables.
        grader: name of a grader in `echorl.tasks.verify.GRADERS`; for a task's benchmark the name of the task.
        samples: number of completions of each item, as in the paper.
        distribution: the average of the paper in which it counts; "other" for none.
        source, licence: origin of the questions, and their terms of use.
        private: True if items must not be published in plain text, so that none is printed, logged or stored.
        template, system: the user message, with `{question}` in it, and the system message ("": none).
    """

    name: str
    title: str
    grader: str
    samples: int = 1
    distribution: Literal["in", "out", "other"] = "other"
    source: str = ""
    licence: str = ""
    private: bool = False
    template: str = "{question}"
    system: str = ""

    @abstractmethod
    def items(self, data: str | None = None) -> list[Item]:
        """Return all items from the hub, or from `data`, a file or a folder; ValueError where one is missing there."""

    def notes(self) -> list[str]:
        """Return sentences on what its items leave out of its rows; none by default."""
        return []

    def get_grader(self) -> Grader | TaskGrader:
        """Return the grader of completions against the items' reference answers."""
        from echorl.tasks.verify import GRADERS

        return GRADERS[self.grader]

    def _item(self, entry: Entry) -> Item:
        text = self.template.replace("{question}", entry.question)
        images = tuple(_open(image) for image in entry.images)
        system = [{"role": "system", "content": self.system}] if self.system else []
        prompt = [*system, {"role": "user", "content": text}]
        return Item(id=entry.id or entry.digest, prompt=prompt, reference_answer=entry.reference_answer, images=images)


@dataclass(frozen=True, kw_only=True)
class DataBenchmark(Benchmark):
    """A benchmark whose items are rows of a data set, on the hub or in local files.

    Attributes:
        location: location of the rows.
        layouts: possible schemas of the rows; the first one whose columns all exist is used.
    """

    location: Location
    layouts: tuple[Layout, ...]

    def items(self, data: str | None = None) -> list[Item]:
        """Return all items in the order of the data; equal rows are one item.

        Raises:
            ValueError: a file, a column or a value is missing, or two items have the same id; the message names the
                place and the fix.
        """
        place = data or self.location.hub_id
        rows = self.location.rows(data)
        layout = self.layouts[check_columns(rows[0], [layout.columns for layout in self.layouts], place)]
        entries = list(_distinct(_entries(rows, layout, place), place))
        if not entries:
            raise ValueError(f"{place} has no rows of {self.name} (data_source {layout.source}); give another file.")
        return [self._item(entry) for entry in entries]


def _entries(rows: Sequence[Row], layout: Layout, place: str) -> Iterable[Entry]:
    for number, row in enumerate(rows):
        try:
            entry = layout.read(row)
        except (AttributeError, IndexError, KeyError, TypeError, ValueError):
            entry = Entry(question="", reference_answer="")
        if entry is None:
            continue
        if not (isinstance(entry.question, str) and entry.question.strip() and entry.reference_answer.strip()):
            columns = ", ".join(layout.columns)
            raise ValueError(
                f"{place}, row {number}: no question or no answer in the columns ({columns}); correct the row, or name "
                "a file of your own in place of the benchmark"
            )
        yield entry


def _distinct(entries: Iterable[Entry], place: str) -> Iterable[Entry]:
    digests: dict[str, str] = {}
    for entry in entries:
        key, digest = entry.id or entry.digest, entry.digest
        if digests.get(key, digest) != digest:
            raise ValueError(f"{place}: two different rows have the id {key!r}; give each its own")
        if key not in digests:
            digests[key] = digest
            yield entry


def _open(image: bytes) -> Image:
    from PIL import Image as Pictures

    return Pictures.open(io.BytesIO(image))
