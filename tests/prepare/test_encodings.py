"""The encoding of a file is found from its first bytes."""

from __future__ import annotations

import pytest

from dftfast.prepare.decode import encoding_of

TEXTS = [
    ("cp1252", "On that day the music near the café was played by somebody naïve."),
    ("cp1252", "He said “it’s not what you’d think” – and left. The rest is plain English."),
    ("cp1252", "El niño comió en la montaña y después volvió a su habitación con los demás."),
    ("cp1252", "A reunião começou às três horas. O avô não gostou da confusão."),
    ("cp1252", "L'été dernier, ma sœur préférait la forêt. Ça ne m'étonnait guère."),
    ("mac_roman", "The naïve café owner said that “this isn’t right”, and went to the garçon."),
    ("cp1250", "Wczoraj późno w nocy usłyszałem, że ktoś puka. Była to żona sąsiada."),
    (
        "cp1250",
        "Včera pozdě v noci jsem uslyšel, že někdo klepe na dveře. Byla to žena souseda, která "
        "ztratila klíče.",
    ),
    ("cp1254", "Dün gece birinin kapıyı çaldığını duydum. Anahtarlarını kaybetmişti."),
    ("cp1251", "Вчера поздно ночью я услышал, что кто-то стучит в дверь."),
    ("koi8_r", "Вчера поздно ночью я услышал, что кто-то стучит в дверь."),
    ("cp1253", "Χθες αργά το βράδυ άκουσα κάποιον να χτυπά την πόρτα."),
    ("gb18030", "昨天深夜，我听到有人敲门。是邻居的妻子，她丢了钥匙。"),
    ("big5", "昨天深夜，我聽到有人敲門。是鄰居的妻子，她丟了鑰匙。我請她進來。"),
    (
        "euc_jp",
        "昨夜遅く、誰かがドアをノックしているのが聞こえた。隣人の妻だった。彼女は鍵をなくして、"
        "とても困っていた。私は中に入れて、お茶を出した。",
    ),
    ("cp949", "어젯밤 늦게 누군가 문을 두드리는 소리를 들었다. 이웃의 아내였다."),
]


@pytest.mark.parametrize("encoding, text", TEXTS)
def test_what_people_wrote_before_unicode(encoding, text):
    raw = text.encode(encoding)
    assert raw.decode(encoding_of(raw)) == text
