"""eSpeak NG through `ctypes`: words to sound, from the library in the package espeakng-loader (GPL-3.0-or-later)."""

import ctypes
import platform
from importlib import metadata
from pathlib import Path

import numpy as np

from recipes.catalogue.sources.files import RECIPES_REMEDY, PackagedFile, locate

DISTRIBUTION, VERSION, FOLDER = "espeakng-loader", "0.2.4", "espeakng_loader"
DATA_DIGESTS = {
    "en_dict": "1053f74a34af38abb6fbd64b7838dacbc655a687c48ce1bb663d364a127b05de",
    "intonations": "031a105bf6bb2ebcd73a2c579ccfb42469b27266db0078af65ae298fd3588b21",
    "phondata": "a0b643b155cb6b12628d9e7865b57d9fca0d35844614f2594a5e009c80c80bb4",
    "phonindex": "384e5fa6f714ba5356c58008249b78699c31c1ad044b243068d263fb806b7d73",
    "phontab": "1b40690667e1e9aa1ba5e5234773c799e7e72ea751426e5150423d53c3f24fa2",
}
# The same data comes with another library on every platform; this is the one that was checked.
LIBRARY_DIGESTS = {("Linux", "x86_64"): "b15ce0803b26254e8a0d088c6b9281a2637b2b02613147cc320cfdefaf2c3ccf"}
LIBRARY_NAMES = {"Linux": "libespeak-ng.so", "Darwin": "libespeak-ng.dylib", "Windows": "espeak-ng.dll"}

# From the header speak_lib.h.
SYNCHRONOUS, DO_NOT_EXIT, POSITION_IS_CHARACTER, UTF8 = 2, 0x8000, 1, 1
RATE, PITCH = 1, 3
OnSound = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p)


class Speaker:
    """The library, loaded and set up.

    Attributes:
        rate (`int`): samples a second of what it says.
    """

    def __init__(self) -> None:
        path, data = locate_library()
        self.library = ctypes.CDLL(str(path))
        self.rate = self.library.espeak_Initialize(SYNCHRONOUS, 0, str(data).encode(), DO_NOT_EXIT)
        if self.rate <= 0:
            raise RuntimeError(f"Expected eSpeak NG to start with the data {data}, got the error {self.rate}.")
        self._heard: list[np.ndarray] = []
        self._on_sound = OnSound(self._listen)  # kept: the library calls it as long as it lives
        self.library.espeak_SetSynthCallback(self._on_sound)

    def say(self, text: str, voice: str, words_per_minute: int, pitch: int) -> np.ndarray:
        """Sound of a text.

        Args:
            text (`str`):
                What to say.
            voice (`str`):
                A language and a variant, as in "en-us+f1".
            words_per_minute (`int`):
                Speed, from 80 on; 175 is ordinary.
            pitch (`int`):
                From 0 to 99; 50 is ordinary.

        Returns:
            `np.ndarray` of shape `(S,)`, float32 in [-1, 1], `rate` samples a second.

        Raises:
            ValueError: there is no such voice.
        """
        if self.library.espeak_SetVoiceByName(voice.encode()) != 0:
            raise ValueError(f"Expected the name of a voice of eSpeak NG, as 'en-us+f1', got {voice!r}.")
        self.library.espeak_SetParameter(RATE, words_per_minute, 0)
        self.library.espeak_SetParameter(PITCH, pitch, 0)
        self._heard.clear()
        raw = text.encode()
        size = ctypes.c_size_t(len(raw) + 1)
        status = self.library.espeak_Synth(raw, size, 0, POSITION_IS_CHARACTER, 0, UTF8, None, None)
        if status != 0 or not self._heard:
            raise RuntimeError(f"Expected eSpeak NG to say {text!r} as {voice!r}, got silence and status {status}.")
        return np.concatenate(self._heard).astype(np.float32) / 2**15

    def _listen(self, samples: ctypes.POINTER(ctypes.c_short), count: int, _: int) -> int:
        """Keep a copy of what the library has just made; 0 asks it to go on."""
        if samples and count > 0:
            self._heard.append(np.ctypeslib.as_array(samples, (count,)).copy())
        return 0


def locate_library() -> tuple[Path, Path]:
    """Paths of the library and of the folder that holds `espeak-ng-data`, its files checked."""
    for name, digest in DATA_DIGESTS.items():
        locate(PackagedFile(DISTRIBUTION, VERSION, f"{FOLDER}/espeak-ng-data/{name}", digest, RECIPES_REMEDY))
    system = platform.system()
    path = f"{FOLDER}/{LIBRARY_NAMES.get(system, LIBRARY_NAMES['Linux'])}"
    if (system, platform.machine()) in LIBRARY_DIGESTS:
        digest = LIBRARY_DIGESTS[system, platform.machine()]
        library = locate(PackagedFile(DISTRIBUTION, VERSION, path, digest, RECIPES_REMEDY))
    else:
        library = Path(metadata.distribution(DISTRIBUTION).locate_file(path))
    return library, library.parent
