"""What `format` asks of a string, as regular expressions that stay on the safe side of every validator."""

_YEAR = "[1-9][0-9]{3}"
_LEAP = "(?:[1-9][0-9](?:0[48]|[2468][048]|[13579][26])|(?:[2468][048]|[13579][26])00)"
_DATE = (
    f"(?:{_YEAR}-(?:(?:0[13578]|1[02])-(?:0[1-9]|[12][0-9]|3[01])|(?:0[469]|11)-(?:0[1-9]|[12][0-9]|30)"
    f"|02-(?:0[1-9]|1[0-9]|2[0-8]))|{_LEAP}-02-29)"
)
_HOUR = "(?:[01][0-9]|2[0-3])"
_CLOCK = f"{_HOUR}:[0-5][0-9]:[0-5][0-9](?:\\.[0-9]{{1,6}})?"
_OFFSET = f"(?:Z|[+\\-]{_HOUR}:[0-5][0-9])"
_COUNT = "[0-9]{1,4}"
_DAYS = f"(?:{_COUNT}Y(?:{_COUNT}M(?:{_COUNT}D)?)?|{_COUNT}M(?:{_COUNT}D)?|{_COUNT}D)"
_HOURS = f"T(?:{_COUNT}H(?:{_COUNT}M(?:{_COUNT}S)?)?|{_COUNT}M(?:{_COUNT}S)?|{_COUNT}S)"
_LABEL = "[A-Za-z0-9]{1,20}(?:-[A-Za-z0-9]{1,10}){0,3}"
_NAME = "[A-Za-z][A-Za-z0-9]{0,19}(?:-[A-Za-z0-9]{1,10}){0,3}"
_TOP = "[A-Za-z]{2,12}"
_DOMAIN = f"(?:{_LABEL}\\.){{1,3}}{_TOP}"
_BYTE = "(?:25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])"
_IPV4 = f"(?:{_BYTE}\\.){{3}}{_BYTE}"
_H16 = "[0-9A-Fa-f]{1,4}"
_IPV6 = f"(?:{_H16}(?::{_H16}){{7}}|(?:{_H16}(?::{_H16}){{0,2}})?::(?:{_H16}(?::{_H16}){{0,3}})?)"
_HEX = "[0-9A-Fa-f]"
_UUID = f"{_HEX}{{8}}-{_HEX}{{4}}-{_HEX}{{4}}-{_HEX}{{4}}-{_HEX}{{12}}"
_PATH = "(?:/[A-Za-z0-9._~!$&'()*+,;=:@\\-]{0,200}){0,20}"
_QUERY = "(?:\\?[A-Za-z0-9._~!$&'()*+,;=:@/?\\-]{0,500})?(?:#[A-Za-z0-9._~!$&'()*+,;=:@/?\\-]{0,100})?"
_URI = f"https?://{_NAME}(?:\\.{_LABEL}){{0,4}}(?::[1-9][0-9]{{0,3}})?{_PATH}{_QUERY}"
_EMAIL = f"[A-Za-z0-9_+]{{1,20}}(?:[.\\-][A-Za-z0-9_+]{{1,20}}){{0,2}}@{_DOMAIN}"
_BASE64 = "(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?"
_BASE64URL = "(?:[A-Za-z0-9_\\-]{4})*"

FORMATS = {
    "base64": _BASE64,
    "base64url": _BASE64URL,
    "byte": _BASE64,
    "cidrv4": f"{_IPV4}/(?:3[0-2]|[12]?[0-9])",
    "cidrv6": f"{_IPV6}/(?:12[0-8]|1[01][0-9]|[1-9]?[0-9])",
    "cuid": "c[a-z0-9]{24}",
    "cuid2": "[a-z][a-z0-9]{23}",
    "date": _DATE,
    "date-time": f"{_DATE}T{_CLOCK}{_OFFSET}",
    "duration": f"P(?:{_COUNT}W|{_DAYS}(?:{_HOURS})?|{_HOURS})",
    "e164": "\\+[1-9][0-9]{6,14}",
    "email": _EMAIL,
    "guid": _UUID,
    "hostname": f"{_NAME}(?:\\.{_NAME}){{0,4}}",
    "idn-email": _EMAIL,
    "idn-hostname": f"{_NAME}(?:\\.{_NAME}){{0,4}}",
    "ip": f"(?:{_IPV4}|{_IPV6})",
    "ipv4": _IPV4,
    "ipv6": _IPV6,
    "iri": _URI,
    "iri-reference": f"(?:{_URI}|/[A-Za-z0-9._~\\-]{{1,100}}{_PATH}{_QUERY})",
    "json-pointer": "(?:/[A-Za-z0-9_.\\-]{0,60}){0,20}",
    "nanoid": "[A-Za-z0-9_\\-]{21}",
    "relative-json-pointer": "(?:0|[1-9][0-9]{0,2})(?:#|(?:/[A-Za-z0-9_.\\-]{0,60}){0,20})",
    "time": f"{_CLOCK}{_OFFSET}",
    "ulid": "[0-7][0-9A-HJKMNP-TV-Z]{25}",
    "uri": _URI,
    "uri-reference": f"(?:{_URI}|/[A-Za-z0-9._~\\-]{{1,100}}{_PATH}{_QUERY})",
    "uri-template": _URI,
    "url": _URI,
    "uuid": _UUID,
}
# Formats that ask nothing of the text, or are about numbers.
UNCHECKED = frozenset({"password", "binary", "int32", "int64", "float", "double", "decimal"})

# Patterns that zod and others write beside a `format`, some with look-ahead: texts of these formats match them. Their order and
# spelling are theirs; a pattern that is not here is combined with no format.
PATTERNS = {
    "email": (
        r"^(?!\.)(?!.*\.\.)([A-Za-z0-9_'+\-\.]*)[A-Za-z0-9_+-]@([A-Za-z0-9][A-Za-z0-9\-]*\.)+[A-Za-z]{2,}$",
        r"^(?:(?!\.)(?!.*\.\.)(?:[A-Za-z0-9_'+\-\.]*)[A-Za-z0-9_+-]@(?:[A-Za-z0-9][A-Za-z0-9\-]*\.)+[A-Za-z]{2,})$",
    ),
    "date": (
        r"^(?:(?:\d\d[2468][048]|\d\d[13579][26]|\d\d0[48]|[02468][048]00|[13579][26]00)-02-29|\d{4}-(?:(?:0[13578]|1[02])-"
        r"(?:0[1-9]|[12]\d|3[01])|(?:0[469]|11)-(?:0[1-9]|[12]\d|30)|(?:02)-(?:0[1-9]|1\d|2[0-8])))$",
    ),
    "duration": (r"^P(?:(\d+W)|(?!.*W)(?=\d|T\d)(\d+Y)?(\d+M)?(\d+D)?(T(?=\d)(\d+H)?(\d+M)?(\d+([.,]\d+)?S)?)?)$",),
    "guid": (r"^([0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12})$",),
    "nanoid": (r"^[a-zA-Z0-9_-]{21}$",),
    "ulid": (r"^[0-9A-HJKMNP-TV-Za-hjkmnp-tv-z]{26}$",),
    "cuid": (r"^[cC][^\s-]{8,}$",),
    "cuid2": (r"^[0-9a-z]+$",),
    "e164": (r"^\+(?:[0-9]){6,14}[0-9]$", r"^\+[1-9]\d{6,14}$"),
}
