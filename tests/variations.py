"""Bodies that differ from a good one in a few tokens: what hypothesis draws for the fuzz tests,
many at a time.
"""

import re

from hypothesis import strategies as st

JSON_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|[^\s\[\]{},:"]+|[\[\]{},:]')
CSV_TOKEN = re.compile(r'[^,\n"]+|[,\n"]')

JSON_WORDS = [
    *(
        "null",
        "true",
        "false",
        "NaN",
        "-Infinity",
        "0",
        "-0.0",
        "1",
        "30.7",
        "1e308",
        "-1e308",
        "1e999",
        "1e-320",
    ),
    *(
        "3.5e38",
        "9007199254740993",
        "-9223372036854775809",
        str(10**18),
        "1" + "0" * 400,
        "9" * 4300,
        "9" * 4301,
    ),
    *(
        "01",
        "0x1",
        "1_000",
        "٣",
        '""',
        '"a"',
        '"0"',
        '"true"',
        '"NaN"',
        '"\\u0000"',
        '"\\ud800"',
        '"\\ud83d\\ude00"',
    ),
    *(
        '"𝔘é\u202e"',
        '"\x00"',
        '"\\x"',
        '"2024-02-30"',
        '"2024-W01-1"',
        '"2024-01-05T10:00:00+01:00"',
        '"0001-01-01"',
    ),
    *(
        '"9999-12-31T23:59:59.999999999"',
        '"/etc/passwd"',
        '"http://127.0.0.1:1/"',
        '"columns"',
        '"index"',
        '"data"',
    ),
    *(
        '"inputs"',
        '"instances"',
        '"predictions"',
        "[",
        "]",
        "{",
        "}",
        ",",
        ":",
        "[]",
        "{}",
        "[[]]",
        "[null]",
        '{"0":1}',
    ),
    *("[" * 400, "[" * 400 + "]" * 400, '{"a":' * 300 + "1" + "}" * 300, "", " ", "\ufeff", "//"),
]

CSV_WORDS = [
    *(
        "",
        " ",
        "nan",
        "inf",
        "-inf",
        "1e999",
        "1e308",
        "1_000",
        "٣",
        "9" * 5000,
        "true",
        "False",
        "0",
        "1.0",
        "-1",
    ),
    *(
        "\x00",
        "\r",
        "\r\n",
        '"',
        '""',
        '"a,b"',
        "a",
        "é𝔘",
        "\ud800",
        "2024-02-30",
        "2024-01-05",
        ",",
        "\n",
        "\n\n",
    ),
    *("x" * 140_000, "\ufeff"),
]

_numbers = st.floats().map(repr) | st.integers().map(str)
_json_words = st.sampled_from(JSON_WORDS) | _numbers
_csv_words = st.sampled_from(CSV_WORDS) | _numbers


def variations(bodies, words, token):
    """Draw a list of bodies: a good one, each of some edits by itself, and each together with the
    one before.

    An edit puts a word in the place of a token of its kind, a value or punctuation, so that many
    stay well-formed.
    """
    edits = st.lists(st.tuples(st.integers(0, 2**16), words), min_size=EDITS, max_size=EDITS)
    return st.tuples(bodies, edits).map(
        lambda drawn: [drawn[0], *_edited(token.findall(drawn[0]), drawn[1])]
    )


EDITS = 20


def _edited(tokens, edits):
    placed = [(_place(tokens, place, word), word) for place, word in edits]
    for one, other in zip(placed, [*placed[1:], placed[0]], strict=True):
        yield _with(tokens, one)
        yield _with(tokens, one, other)


def _place(tokens, place, word):
    alike = [
        index
        for index, token in enumerate(tokens)
        if _is_punctuation(token) == _is_punctuation(word)
    ]
    return alike[place % len(alike)] if alike else place % len(tokens)


def _is_punctuation(word):
    return word[:1] in tuple("[]{},:\n")


def _with(tokens, *edits):
    changed = list(tokens)
    for index, word in edits:
        changed[index] = word
    return "".join(changed)


def json_variations(bodies):
    return variations(bodies, _json_words, JSON_TOKEN)


def csv_variations(bodies):
    return variations(bodies, _csv_words, CSV_TOKEN)
