"""The words of the publishing scripts' replies are those of the enums that read them."""

import re
from pathlib import Path

import pytest

import ingest.publishing
from ingest.publishing.frames import ConversionOutcome, FrameStatus

FOLDER = Path(ingest.publishing.__file__).parent


def lua_table(file: str, name: str) -> dict[str, bytes]:
    """A script's table of texts."""
    text = (FOLDER / file).read_text(encoding="utf-8")
    table = re.search(rf"^local {name} = {{(.*)}}$", text, re.MULTILINE)
    assert table
    return {key: value.encode() for key, value in re.findall(r"(\w+) = '(\w*)'", table[1])}


@pytest.mark.parametrize(
    ("file", "table", "enum"),
    [
        ("frame.lua", "STATUS", FrameStatus),
        ("publish_conversions.lua", "OUTCOME", ConversionOutcome),
    ],
)
def test_a_script_and_its_enum_have_the_same_words(
    file: str, table: str, enum: type[FrameStatus | ConversionOutcome]
) -> None:
    assert lua_table(file, table) == {member.name: member.value for member in enum}


@pytest.mark.parametrize("file", [path.name for path in FOLDER.glob("*.lua")])
def test_scripts_use_the_names_of_their_tables(file: str) -> None:
    code = re.sub(r"--.*", "", (FOLDER / file).read_text(encoding="utf-8"))
    used = {kind: set(re.findall(rf"\b{kind}\.(\w+)", code)) for kind in ("STATUS", "OUTCOME")}
    assert used["STATUS"] <= {member.name for member in FrameStatus}
    assert used["OUTCOME"] <= {member.name for member in ConversionOutcome}
