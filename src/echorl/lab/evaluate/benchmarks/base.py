"""What a benchmark and its items are. No repr and no message shows what an item says."""

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
    """One question.

    Attributes:
        id: unique in its benchmark, and the same whatever the order of the rows.
        prompt: chat messages; one string where a task asks for prompts without a chat template.
        gold: what the grader compares with.
        images: PIL images; they come before the text of the user message.
    """

    id: str
    prompt: str | list[Message] = field(repr=False)
    gold: str = field(repr=False)
    images: tuple[Image, ...] = field(default=(), repr=False)


@dataclass(frozen=True, kw_only=True)
class Benchmark(ABC):
    """A set of questions and how their answers are graded.

    Attributes:
        name: the key that the command line takes.
        title: for tables.
        grader: name of a grader in `echorl.tasks.verify.GRADERS`; of a task's benchmark, of its own verifier.
        samples: completions an item, as in the paper.
        distribution: the paper's average that it counts in; "other": none.
        source, licence: where the questions come from, and on what terms.
        private: its items must not be published in plain text: never print, log or store one.
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
        """All items, from the hub or from `data`, a file or a folder; ValueError names what is missing and the fix."""

    def get_grader(self) -> Grader | TaskGrader:
        """What grades completions against the items' golds."""
        from echorl.tasks.verify import GRADERS

        return GRADERS[self.grader]

    def _item(self, entry: Entry) -> Item:
        text = self.template.replace("{question}", entry.question)
        images = tuple(_open(image) for image in entry.images)
        system = [{"role": "system", "content": self.system}] if self.system else []
        prompt = [*system, {"role": "user", "content": text}]
        return Item(id=entry.id or entry.digest, prompt=prompt, gold=entry.gold, images=images)


@dataclass(frozen=True, kw_only=True)
class DataBenchmark(Benchmark):
    """A benchmark whose items are rows of a data set, on the hub or in local files.

    Attributes:
        location: where the rows are.
        layouts: the schemas that they may have; the first one whose columns are all there is used.
    """

    location: Location
    layouts: tuple[Layout, ...]

    def items(self, data: str | None = None) -> list[Item]:
        """All items in the data's order; the same question with the same gold and id is one item.

        Raises:
            ValueError: a file, a column or a value is missing, or two items have one id; names the place, and the fix.
        """
        place = data or self.location.hub_id
        rows = self.location.rows(data)
        layout = self.layouts[check_columns(rows[0], [layout.columns for layout in self.layouts], place)]
        entries = list(_distinct(_entries(rows, layout, place), place))
        if not entries:
            raise ValueError(f"{place} has no rows of {self.name} (data_source {layout.wanted}); give another file")
        return [self._item(entry) for entry in entries]


def _entries(rows: Sequence[Row], layout: Layout, place: str) -> Iterable[Entry]:
    for number, row in enumerate(rows):
        try:
            entry = layout.read(row)
        except (AttributeError, IndexError, KeyError, TypeError, ValueError):
            entry = Entry(question="", gold="")
        if entry is not None:
            if not (isinstance(entry.question, str) and entry.question.strip() and entry.gold.strip()):
                columns = ", ".join(layout.columns)
                raise ValueError(f"{place}, row {number}: no question or no answer can be read from ({columns})")
            yield entry


def _distinct(entries: Iterable[Entry], place: str) -> Iterable[Entry]:
    seen: dict[str, str] = {}
    for entry in entries:
        key, digest = entry.id or entry.digest, entry.digest
        if seen.get(key, digest) != digest:
            raise ValueError(f"{place}: two different rows have the id {key!r}; give each its own")
        if key not in seen:
            seen[key] = digest
            yield entry


def _open(image: bytes) -> Image:
    from PIL import Image as Pictures

    return Pictures.open(io.BytesIO(image))
