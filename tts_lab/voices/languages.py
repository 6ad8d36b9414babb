"""The language block of a voice's configuration: what Piper's list of voices shows."""

from tts_lab.errors import UserError

# code: native name, English name, English country
_LANGUAGES: dict[str, tuple[str, str, str]] = {
    "ar_JO": ("العربية", "Arabic", "Jordan"),
    "bg_BG": ("български", "Bulgarian", "Bulgaria"),
    "ca_ES": ("Català", "Catalan", "Spain"),
    "cs_CZ": ("Čeština", "Czech", "Czech Republic"),
    "cy_GB": ("Cymraeg", "Welsh", "Great Britain"),
    "da_DK": ("Dansk", "Danish", "Denmark"),
    "de_AT": ("Deutsch", "German", "Austria"),
    "de_CH": ("Deutsch", "German", "Switzerland"),
    "de_DE": ("Deutsch", "German", "Germany"),
    "el_GR": ("Ελληνικά", "Greek", "Greece"),
    "en_AU": ("English", "English", "Australia"),
    "en_CA": ("English", "English", "Canada"),
    "en_GB": ("English", "English", "Great Britain"),
    "en_IE": ("English", "English", "Ireland"),
    "en_IN": ("English", "English", "India"),
    "en_US": ("English", "English", "United States"),
    "es_AR": ("Español", "Spanish", "Argentina"),
    "es_ES": ("Español", "Spanish", "Spain"),
    "es_MX": ("Español", "Spanish", "Mexico"),
    "et_EE": ("Eesti", "Estonian", "Estonia"),
    "eu_ES": ("Euskara", "Basque", "Spain"),
    "fa_IR": ("فارسی", "Farsi", "Iran"),
    "fi_FI": ("Suomi", "Finnish", "Finland"),
    "fr_CA": ("Français", "French", "Canada"),
    "fr_FR": ("Français", "French", "France"),
    "he_IL": ("עברית", "Hebrew", "Israel"),
    "hi_IN": ("हिन्दी", "Hindi", "India"),
    "hr_HR": ("Hrvatski", "Croatian", "Croatia"),
    "hu_HU": ("Magyar", "Hungarian", "Hungary"),
    "id_ID": ("Bahasa Indonesia", "Indonesian", "Indonesia"),
    "is_IS": ("íslenska", "Icelandic", "Iceland"),
    "it_IT": ("Italiano", "Italian", "Italy"),
    "ka_GE": ("ქართული ენა", "Georgian", "Georgia"),
    "kk_KZ": ("қазақша", "Kazakh", "Kazakhstan"),
    "ko_KR": ("한국어", "Korean", "South Korea"),
    "lb_LU": ("Lëtzebuergesch", "Luxembourgish", "Luxembourg"),
    "lt_LT": ("Lietuvių", "Lithuanian", "Lithuania"),
    "lv_LV": ("Latviešu", "Latvian", "Latvia"),
    "ml_IN": ("മലയാളം", "Malayalam", "India"),
    "ne_NP": ("नेपाली", "Nepali", "Nepal"),
    "nl_BE": ("Nederlands", "Dutch", "Belgium"),
    "nl_NL": ("Nederlands", "Dutch", "Netherlands"),
    "no_NO": ("Norsk", "Norwegian", "Norway"),
    "pl_PL": ("Polski", "Polish", "Poland"),
    "pt_BR": ("Português", "Portuguese", "Brazil"),
    "pt_PT": ("Português", "Portuguese", "Portugal"),
    "ro_RO": ("Română", "Romanian", "Romania"),
    "ru_RU": ("Русский", "Russian", "Russia"),
    "sk_SK": ("Slovenčina", "Slovak", "Slovakia"),
    "sl_SI": ("Slovenščina", "Slovenian", "Slovenia"),
    "sq_AL": ("Shqip", "Albanian", "Albania"),
    "sr_RS": ("srpski", "Serbian", "Serbia"),
    "sv_SE": ("Svenska", "Swedish", "Sweden"),
    "sw_CD": ("Kiswahili", "Swahili", "Democratic Republic of the Congo"),
    "te_IN": ("తెలుగు", "Telugu", "India"),
    "tr_TR": ("Türkçe", "Turkish", "Turkey"),
    "uk_UA": ("українська мова", "Ukrainian", "Ukraine"),
    "ur_PK": ("اردو", "Urdu", "Pakistan"),
    "vi_VN": ("Tiếng Việt", "Vietnamese", "Vietnam"),
    "zh_CN": ("简体中文", "Chinese", "China"),
}


# docs/VOICES.md of piper1-gpl at aabd8005: the locales that have voices. Above are names of more.
_PUBLISHED = (
    "ar_JO ca_ES cs_CZ cy_GB da_DK de_DE el_GR en_GB en_US es_AR es_ES es_MX fa_IR fi_FI fr_FR hi_IN hu_HU id_ID is_IS "
    "it_IT ka_GE kk_KZ lb_LU lv_LV ml_IN ne_NP nl_BE nl_NL no_NO pl_PL pt_BR pt_PT ro_RO ru_RU sk_SK sl_SI sr_RS sv_SE "
    "sw_CD te_IN tr_TR uk_UA vi_VN zh_CN"
).split()
_ESPEAK = {"cmn": "zh", "nb": "no"}
"""Languages that espeak calls otherwise."""


def published(espeak_voice: str) -> list[str]:
    """Locales of the language of espeak's voice in which Piper publishes voices: en-us gives `["en_GB", "en_US"]`."""
    family = espeak_voice.split("-")[0]
    return [code for code in _PUBLISHED if code.split("_")[0] == _ESPEAK.get(family, family)]


def language_block(code: str) -> dict[str, str]:
    """`{"code": "en_US", "family": "en", …}` as Piper's configurations have it.

    The names are left as the bare codes for a language that is not in the table. Raises UserError for a `code` that
    is not LANGUAGE_COUNTRY, such as en_US.
    """
    family, _, region = code.partition("_")
    if not (family.islower() and family.isascii() and region.isupper() and region.isascii()):
        raise UserError(f"{code!r} is no language code: it is the language and the country, like en_US or pt_BR.")
    native, english, country = _LANGUAGES.get(code, (family, family, region))
    return {
        "code": code,
        "family": family,
        "region": region,
        "name_native": native,
        "name_english": english,
        "country_english": country,
    }
