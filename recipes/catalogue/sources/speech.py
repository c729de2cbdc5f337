"""Command words spoken by a synthesiser: no package brings labelled recordings."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from datasets import ClassLabel, Dataset, DatasetDict, DatasetInfo, Features, List, Value

from recipes.catalogue.sources.espeak import Speaker
from recipes.catalogue.sources.files import build_once

WORDS = ["yes", "no", "up", "down", "left", "right", "on", "off", "stop", "go"]
SAMPLE_RATE = 16_000
SEED = 0
# Part of the folder's name: raise it whenever the sounds change.
VERSION = 1
# "en" is the British one.
ACCENTS = ["en-us", "en", "en-gb-scotland", "en-gb-x-rp"]
# Of a voice with several versions ("iven", "iven2") one is taken, so none is on both sides under another number; f1,
# f4 and m1 to m7 are voices of their own. Left out: f2, f3, f5, Alicia and victor, who say the same differently in
# every process.
VOICES = {
    "train": [
        "Andrea",
        "Andy",
        "Annie",
        "Denis",
        "Gene",
        "Hugo",
        "Jacky",
        "Lee",
        "Marco",
        "Mario",
        "Nguyen",
        "Reed",
        "adam",
        "antonio",
        "aunty",
        "belinda",
        "boris",
        "david",
        "ed",
        "f1",
        "grandma",
        "grandpa",
        "iven",
        "linda",
        "m1",
        "m3",
        "m5",
        "m7",
        "rob",
        "travis",
    ],
    "test": ["Alex", "Michael", "f4", "m2", "m4", "michel", "paul", "shelby", "steph", "zac"],
}
TAKES = {"train": 4, "test": 4}  # of each word by each voice
WORDS_PER_MINUTE, PITCH, SIGNAL_TO_NOISE_DB = (130, 200), (30, 70), (5.0, 30.0)


class Take(NamedTuple):
    """How a word is said once."""

    word: str
    voice: str
    words_per_minute: int
    pitch: int


def speech_commands_synthetic() -> DatasetDict:
    """Ten command words, said by a synthesiser in changing voices over noise: audio classification, balanced.

    | | classes | voices | train | test | a class |
    |---|---|---|---|---|---|
    | returned | 10 | 30 and 10 | 1200 | 400 | 120 and 40 |

    The words are a choice of those of Speech Commands (Warden 2018), but this is *not* that data set: nobody spoke
    them. Train and test share no voice. Speed, pitch, accent, place in the clip and loudness of white noise (5 to 30
    dB below the word) are drawn with a fixed seed. The first call takes some seconds and keeps the result in the
    folder [`~recipes.catalogue.sources.files.data_cache`]; on another platform than Linux on x86-64 the library may
    say it differently in detail.

    Returns:
        `DatasetDict`: splits `train` and `test` with the columns `audio` (`list` of 16,000 float32 in [-1, 1]: one
        second) and `label` (`ClassLabel`). Ask for `with_format("numpy")` or `with_format("torch")`: Python lists are
        slow.
    """
    folder = build_once(f"speech-commands-synthetic-{VERSION}", write_speech)
    return DatasetDict.load_from_disk(str(folder))


def write_speech(folder: Path) -> None:
    """Say all words and save both splits."""
    speaker = Speaker()
    features = Features({"audio": List(Value("float32"), length=SAMPLE_RATE), "label": ClassLabel(names=WORDS)})
    splits = {}
    for number, split in enumerate(("train", "test")):
        rng = np.random.default_rng([SEED, number])
        takes = plan_takes(VOICES[split], TAKES[split], rng)
        clips = np.stack([record(speaker, take, rng) for take in takes])  # (N, 16000)
        audio = pa.FixedSizeListArray.from_arrays(pa.array(clips.reshape(-1)), SAMPLE_RATE)
        labels = pa.array([WORDS.index(take.word) for take in takes], pa.int64())
        table = pa.table({"audio": audio, "label": labels})
        splits[split] = Dataset(table.cast(features.arrow_schema), info=DatasetInfo(features=features))
    DatasetDict(splits).save_to_disk(str(folder))


def plan_takes(voices: list[str], num_takes: int, rng: np.random.Generator) -> list[Take]:
    """Every word by every voice `num_takes` times, in an order that mixes them."""
    takes = [
        Take(
            word,
            f"{rng.choice(ACCENTS)}+{voice}",
            int(rng.integers(*WORDS_PER_MINUTE)),
            int(rng.integers(*PITCH)),
        )
        for word in WORDS
        for voice in voices
        for _ in range(num_takes)
    ]
    return [takes[index] for index in rng.permutation(len(takes))]


def record(speaker: Speaker, take: Take, rng: np.random.Generator) -> np.ndarray:
    """One second of a word over noise, (16000,) float32."""
    from scipy.signal import resample_poly

    sound = speaker.say(take.word, take.voice, take.words_per_minute, take.pitch)
    return place(resample_poly(sound, SAMPLE_RATE, speaker.rate), SAMPLE_RATE, rng)


def place(sound: np.ndarray, length: int, rng: np.random.Generator) -> np.ndarray:
    """Put a sound somewhere into `length` samples of white noise; what does not fit is cut off its end.

    Args:
        sound (`np.ndarray` of shape `(S,)`):
            The sound; silence at its ends is left out.
        length (`int`):
            L, how many samples are wanted.
        rng (`np.random.Generator`):
            Draws the place and the noise.

    Returns:
        `np.ndarray` of shape `(L,)`, float32 with a peak of 0.9.
    """
    loud = np.flatnonzero(np.abs(sound) > 0.01 * np.abs(sound).max())
    word = sound[loud[0] : loud[-1] + 1][:length]
    start = int(rng.integers(length - len(word) + 1))
    decibels = rng.uniform(*SIGNAL_TO_NOISE_DB)
    noise = rng.standard_normal(length) * np.sqrt(np.mean(word**2)) * 10 ** (-decibels / 20)
    noise[start : start + len(word)] += word
    return (0.9 * noise / np.abs(noise).max()).astype(np.float32)
