"""The bundled sounds can be made again."""

import os
import shutil
import subprocess
import sys
from collections import Counter
from importlib.resources import files

import numpy as np
import pytest

from .make_script import PATH, load

SCRIPT = load()
BUNDLED = files("imbalance_lens.datasets") / "av_digits.npz"


def needs_the_synthesizer() -> None:
    if shutil.which("espeak-ng") is None:
        pytest.skip("espeak-ng is not installed")
    with BUNDLED.open("rb") as file, np.load(file) as made:
        version = str(made["espeak_ng"])
    if SCRIPT.synthesizer_version() != version:
        pytest.skip(f"espeak-ng is not version {version}, which made the bundled sounds")


def test_every_voice_says_every_digit_equally_often():
    takes = SCRIPT.takes(np.random.default_rng(0))
    assert set(Counter((take.voice, take.digit) for take in takes).values()) == {SCRIPT.TAKES}
    assert len(takes) == len(SCRIPT.VOICES) * 10 * SCRIPT.TAKES == 3000
    assert len(set(SCRIPT.VOICES)) == sum(SCRIPT.VOICES_OF.values())


def test_one_sound_made_again_is_the_bundled_one():
    needs_the_synthesizer()
    take = SCRIPT.takes(np.random.default_rng(SCRIPT.SEED))[1234]
    wave = SCRIPT.speak(take)
    bank = SCRIPT.mel_filters(SCRIPT.SAMPLE_RATE, SCRIPT.N_FFT, SCRIPT.N_MELS)
    again = SCRIPT.quantized(SCRIPT.decibel(SCRIPT.mel_power(wave, bank)))
    with BUNDLED.open("rb") as file, np.load(file) as made:
        np.testing.assert_array_equal(made["log_mel"][1234], again)
        assert made["sounding"][1234] == SCRIPT.sounding_frames(len(wave))


@pytest.mark.slow
def test_the_script_makes_the_bundled_file_again_bit_for_bit(tmp_path):
    needs_the_synthesizer()
    path = tmp_path / "again.npz"
    here = {**os.environ, "PYTHONPATH": str(PATH.parents[1])}
    subprocess.run([sys.executable, str(PATH), str(path)], check=True, env=here)
    assert path.read_bytes() == BUNDLED.read_bytes()
