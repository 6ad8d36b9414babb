"""JSON and YAML that may be anybody's: read within limits, as the types that are expected, or refused in words.

A file may be cut short, nested until the parser's stack ends, grow a thousandfold by aliases, or hold a word where a
number belongs. Here each of these is a `UserError` that names the file, so that no caller has to think of them.
"""

import functools
import json
from pathlib import Path
from typing import Annotated, Any, TypeVar

import yaml
from annotated_types import Interval, Predicate

from tts_lab.errors import UserError

T = TypeVar("T")
Count = Annotated[int, Interval(ge=0, lt=1 << 53)]
"""A whole number that a float can hold."""


def lies_inside(path: str) -> bool:
    """Whether a path leads to nothing outside of the folder that it is relative to."""
    # Not by pathlib, which remembers every part of every path it has seen.
    return not path.startswith("/") and ".." not in path.split("/") and "\0" not in path


Inside = Annotated[str, Predicate(lies_inside)]
YAML_BYTES = 1 << 20
"""Of a configuration; more is none, and would take PyYAML minutes."""
YAML_DEPTH = 50


def parse_json(text: str | bytes) -> Any:
    """What JSON says. Raises `ValueError` for all that is none."""
    try:
        found = json.loads(text)
        if ("\\u" if isinstance(text, str) else b"\\u") in text:
            json.dumps(found, ensure_ascii=False).encode()
    except RecursionError:
        raise ValueError("it is nested too deep") from None
    except UnicodeEncodeError:
        raise ValueError("it has half of a character, a surrogate, which no file can hold") from None
    return found


def read_json(path: Path) -> Any:
    """What a JSON file says. Raises `UserError` if it is not there or no JSON."""
    try:
        return parse_json(path.read_bytes())
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read as JSON: {_told(error)}.") from error


def parse_yaml(text: str) -> Any:
    """What YAML says, in plain types. Raises `ValueError` for all that is none, for tags, and for aliases, by which a
    few lines can stand for more than any memory holds."""
    if len(text) > YAML_BYTES:
        raise ValueError(f"it is over {YAML_BYTES >> 20} MB, and no configuration is")
    try:
        return yaml.load(text, _WithoutAliases)
    except RecursionError:
        raise ValueError("it is nested too deep") from None
    except Exception as error:  # PyYAML lets through what its constructors of dates and numbers raise
        raise ValueError(" ".join(str(error).split())) from error


def read_yaml(path: Path) -> dict[str, Any]:
    """The settings in a YAML file. Raises `UserError` if it is not there, no YAML, or holds anything but settings."""
    try:
        with path.open(encoding="utf-8") as file:
            content = parse_yaml(file.read(YAML_BYTES + 1))
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read as YAML: {_told(error)}.") from error
    if not isinstance(content, dict):
        raise UserError(f"{path} holds no settings, each as `name: value`.")
    return content


class _WithoutAliases(yaml.SafeLoader):
    depth = 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError(f"aliases, as *{self.peek_event().anchor}, are not read; write it out")
        if self.depth > YAML_DEPTH:
            raise yaml.YAMLError(f"it is nested over {YAML_DEPTH} deep")
        self.depth += 1
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node

    def construct_yaml_int(self, node: Any) -> int:
        value = super().construct_yaml_int(node)
        if abs(value) >= 1 << 63:  # where a float is expected, Python raises an error of its own
            raise yaml.YAMLError("a whole number has over 18 digits")
        return value


_WithoutAliases.add_constructor("tag:yaml.org,2002:int", _WithoutAliases.construct_yaml_int)


def typed(kind: type[T], content: Any, of: Path | str) -> T:
    """`content`, as JSON or YAML give it, as a `kind`: a dataclass, a `TypedDict` or any other annotation.

    Raises:
        UserError: something is missing, or of another type; `of` names the file.
    """
    from pydantic import ValidationError

    try:
        return _adapter(kind).validate_python(content)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(map(str, first["loc"]))
        more = f" ({error.error_count() - 1} more)" if error.error_count() > 1 else ""
        raise UserError(f"{of}: {f'{where}: ' if where else ''}{_short(first['msg'])}{more}.") from None


@functools.cache
def _adapter(kind: Any) -> Any:
    from pydantic import TypeAdapter  # a fifth of a second, which only who reads such files has to wait

    return TypeAdapter(kind)


def _told(error: Exception) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or _short(" ".join(str(error).split()))


def _short(text: str) -> str:
    return text if len(text) <= 300 else f"{text[:300]}…"
