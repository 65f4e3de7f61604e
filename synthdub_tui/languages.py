"""The language codes that the service accepts, and their English names.

Source: the enums DubbingInputLanguage and DubbingOutputLanguage of the vendor's OpenAPI file (2026-04). The service may learn
more languages and has the last word. This table only catches typing errors before anything is sent.
"""

INPUT_CODES = tuple(
    """
    af sq am ar ar-DZ ar-BH ar-EG ar-IQ ar-JO ar-KW ar-LY ar-MA ar-QA ar-SA ar-SY ar-TN ar-AE ar-YE hy as az ba eu
    be bn bs br bg my ca zh zh-CN zh-HK zh-TW hr cs da nl nl-BE nl-NL en en-AU en-CA en-GB en-HK en-IN en-IE en-KE
    en-MX en-NZ en-NG en-PH en-SG en-ZA en-TZ en-US et fo fi fr fr-BE fr-CA fr-FR fr-CH gl ka de de-AT de-DE de-CH
    el gu ht ha haw he hi hu is id it ja jw kn kk km ko lo la lv ln lt lb mk mg ms ml mt mi mr mn ne no nb nn oc pa
    ps fa pl pt pt-BR pt-PT ro ru sa sr sn sd si sk sl so es es-AR es-BO es-CL es-CO es-CR es-CU es-DO es-EC es-SV
    es-GQ es-GT es-HN es-LA es-MX es-NI es-PA es-PY es-PE es-PR es-ES es-US es-UY es-VE su sw sv tl tg ta ta-IN
    ta-SG ta-LK tt te th bo tr tk uk ur uz vi cy yi yo
    """.split()
)

OUTPUT_CODES = tuple(
    """
    af sq am ar ar-DZ ar-BH ar-EG ar-IQ ar-JO ar-KW ar-LY ar-MA ar-QA ar-SA ar-SY ar-TN ar-AE ar-YE hy as az eu be
    bn bs bg my ca ceb ny zh zh-CN zh-HK zh-TW hr cs da nl nl-BE nl-NL en en-AU en-CA en-GB en-HK en-IN en-IE en-KE
    en-MX en-NZ en-NG en-PH en-SG en-ZA en-TZ en-US et fil fi fr fr-BE fr-CA fr-FR fr-CH gl ka de de-AT de-DE de-CH
    el gu ha he hi hu is id ga it ja jw kn kk km ko ky lo lv ln lt lb mk ms ml mt mr mn ne no nb nn or pa ps fa pl
    pt pt-BR pt-PT ro ru sr sd si sk sl so es es-AR es-BO es-CL es-CO es-CR es-CU es-DO es-EC es-SV es-GQ es-GT
    es-HN es-LA es-MX es-NI es-PA es-PY es-PE es-PR es-ES es-US es-UY es-VE su sw sv ta ta-IN ta-SG ta-LK te th tr
    uk ur uz vi cy zu
    """.split()
)

_LANGUAGES = {
    "af": "Afrikaans",
    "am": "Amharic",
    "ar": "Arabic",
    "as": "Assamese",
    "az": "Azerbaijani",
    "ba": "Bashkir",
    "be": "Belarusian",
    "bg": "Bulgarian",
    "bn": "Bengali",
    "bo": "Tibetan",
    "br": "Breton",
    "bs": "Bosnian",
    "ca": "Catalan",
    "ceb": "Cebuano",
    "cs": "Czech",
    "cy": "Welsh",
    "da": "Danish",
    "de": "German",
    "el": "Greek",
    "en": "English",
    "es": "Spanish",
    "et": "Estonian",
    "eu": "Basque",
    "fa": "Persian",
    "fi": "Finnish",
    "fil": "Filipino",
    "fo": "Faroese",
    "fr": "French",
    "ga": "Irish",
    "gl": "Galician",
    "gu": "Gujarati",
    "ha": "Hausa",
    "haw": "Hawaiian",
    "he": "Hebrew",
    "hi": "Hindi",
    "hr": "Croatian",
    "ht": "Haitian Creole",
    "hu": "Hungarian",
    "hy": "Armenian",
    "id": "Indonesian",
    "is": "Icelandic",
    "it": "Italian",
    "ja": "Japanese",
    "jw": "Javanese",
    "ka": "Georgian",
    "kk": "Kazakh",
    "km": "Khmer",
    "kn": "Kannada",
    "ko": "Korean",
    "ky": "Kyrgyz",
    "la": "Latin",
    "lb": "Luxembourgish",
    "ln": "Lingala",
    "lo": "Lao",
    "lt": "Lithuanian",
    "lv": "Latvian",
    "mg": "Malagasy",
    "mi": "Maori",
    "mk": "Macedonian",
    "ml": "Malayalam",
    "mn": "Mongolian",
    "mr": "Marathi",
    "ms": "Malay",
    "mt": "Maltese",
    "my": "Burmese",
    "nb": "Norwegian Bokmål",
    "ne": "Nepali",
    "nl": "Dutch",
    "nn": "Norwegian Nynorsk",
    "no": "Norwegian",
    "ny": "Chichewa",
    "oc": "Occitan",
    "or": "Odia",
    "pa": "Punjabi",
    "pl": "Polish",
    "ps": "Pashto",
    "pt": "Portuguese",
    "ro": "Romanian",
    "ru": "Russian",
    "sa": "Sanskrit",
    "sd": "Sindhi",
    "si": "Sinhala",
    "sk": "Slovak",
    "sl": "Slovenian",
    "sn": "Shona",
    "so": "Somali",
    "sq": "Albanian",
    "sr": "Serbian",
    "su": "Sundanese",
    "sv": "Swedish",
    "sw": "Swahili",
    "ta": "Tamil",
    "te": "Telugu",
    "tg": "Tajik",
    "th": "Thai",
    "tk": "Turkmen",
    "tl": "Tagalog",
    "tr": "Turkish",
    "tt": "Tatar",
    "uk": "Ukrainian",
    "ur": "Urdu",
    "uz": "Uzbek",
    "vi": "Vietnamese",
    "yi": "Yiddish",
    "yo": "Yoruba",
    "zh": "Chinese",
    "zu": "Zulu",
}

_REGIONS = {
    "AE": "United Arab Emirates",
    "AR": "Argentina",
    "AT": "Austria",
    "AU": "Australia",
    "BE": "Belgium",
    "BH": "Bahrain",
    "BO": "Bolivia",
    "BR": "Brazil",
    "CA": "Canada",
    "CH": "Switzerland",
    "CL": "Chile",
    "CN": "China",
    "CO": "Colombia",
    "CR": "Costa Rica",
    "CU": "Cuba",
    "DE": "Germany",
    "DO": "Dominican Republic",
    "DZ": "Algeria",
    "EC": "Ecuador",
    "EG": "Egypt",
    "ES": "Spain",
    "FR": "France",
    "GB": "United Kingdom",
    "GQ": "Equatorial Guinea",
    "GT": "Guatemala",
    "HK": "Hong Kong",
    "HN": "Honduras",
    "IE": "Ireland",
    "IN": "India",
    "IQ": "Iraq",
    "JO": "Jordan",
    "KE": "Kenya",
    "KW": "Kuwait",
    "LA": "Latin America",
    "LK": "Sri Lanka",
    "LY": "Libya",
    "MA": "Morocco",
    "MX": "Mexico",
    "NG": "Nigeria",
    "NI": "Nicaragua",
    "NL": "Netherlands",
    "NZ": "New Zealand",
    "PA": "Panama",
    "PE": "Peru",
    "PH": "Philippines",
    "PR": "Puerto Rico",
    "PT": "Portugal",
    "PY": "Paraguay",
    "QA": "Qatar",
    "SA": "Saudi Arabia",
    "SG": "Singapore",
    "SV": "El Salvador",
    "SY": "Syria",
    "TN": "Tunisia",
    "TW": "Taiwan",
    "TZ": "Tanzania",
    "US": "United States",
    "UY": "Uruguay",
    "VE": "Venezuela",
    "YE": "Yemen",
    "ZA": "South Africa",
}

AUTO_DETECT = "auto"
"""Not a code of the service: asks for the source language that the service detects in the asset."""


def language_name(code: str) -> str:
    """English name of a code, for example "French (Canada)"; the code itself if it is not known."""
    language, _, region = code.partition("-")
    known = _LANGUAGES.get(language)
    if known is None:
        return code
    return f"{known} ({_REGIONS.get(region, region)})" if region else known


def canonical_code(code: str, among: tuple[str, ...] = OUTPUT_CODES) -> str | None:
    """The service's spelling of a code that was typed as `FR-fr` or `fr_FR`; None if it is not one of `among`."""
    wanted = code.strip().replace("_", "-").lower()
    return _spelling(among).get(wanted)


def same_code(left: str, right: str) -> bool:
    """Whether two spellings mean one code, ignoring case and reading `_` as `-`."""
    return left.replace("_", "-").lower() == right.replace("_", "-").lower()


def nearest_codes(code: str, among: tuple[str, ...] = OUTPUT_CODES) -> list[str]:
    """Up to five codes that a mistyped code or the name of a language may have meant, best first."""
    from difflib import get_close_matches  # noqa: PLC0415 - costs start-up time

    wanted = code.strip().replace("_", "-").lower()
    language = wanted.partition("-")[0]
    spelling = _spelling(among)
    close = [spelling[c] for c in get_close_matches(wanted, spelling, n=5, cutoff=0.5)]
    related = [c for c in among if c.partition("-")[0].lower() == language]
    found = [c for c in among if language_name(c).lower() == wanted]
    found += [c for c in close if c in related]
    found += related
    found += [c for c in among if language_name(c).lower().startswith(wanted) and len(wanted) > 2]
    found += close
    return list(dict.fromkeys(found))[:5]


def _spelling(among: tuple[str, ...]) -> dict[str, str]:
    return {c.lower(): c for c in among}
