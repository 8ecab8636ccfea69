"""A small pack that tells people something: its `channels.toml`, to be changed by tests."""

from collections.abc import Mapping

from schemas.site import Site, parse_site
from tests.schemas.case_pack import AGENCIES, CASES, FILES, SITE, UNITS

CHANNELS = """
digest_at = 07:30:00
link = "https://ioc.example.vn/board#case={case}"

[citizens]
quiet_from = 21:00:00
quiet_to = 06:30:00

[cap]
sender = "ioc@example.vn"
categories = { fire = "Fire" }

[[channel]]
id = "sms"
kind = "sms"
address = "https://sms.example.vn/send"
receipts = "https://sms.example.vn/receipts"
sender = "IOC"
secret = "env:IOC_SECRET_SMS"

[[channel]]
id = "mail"
kind = "mail"
address = "smtp://mail.example.vn:587"
sender = "ioc@example.vn"
name = "Trung tâm điều hành"
user = "ioc"
secret = "file:mail"

[[channel]]
id = "horns"
kind = "loudspeaker"
address = "mqtt://horns.example.vn"
topic = "horns/say"
receipts = "horns/played"

[[channel]]
id = "partner"
kind = "webhook"
address = "https://partner.example.vn/ioc"
secret = "env:IOC_SECRET_PARTNER"

[[template]]
why = ["offered", "escalated"]
to = ["unit"]
title = { vi = "Nhiệm vụ {category}", en = "Job: {category}" }
text = { vi = "{case} {area} {link}", en = "{case} {area} {link}" }

[[template]]
why = ["withdrawn"]
to = ["unit"]
text = { vi = "Thôi {case}: {reason}", en = "Not needed: {case}: {reason}" }

[[template]]
why = ["assigned", "breached", "escalated"]
to = ["agency", "person"]
channels = ["mail", "sms"]
title = { vi = "{severity}: {title}", en = "{severity}: {title}" }
text = { vi = "{case} {title} hạn {due} {unit} {step}", en = "{case} {title} due {due} {unit} {step}" }

[[template]]
why = ["answered", "resolved"]
to = ["citizen"]
text = { vi = "Phản ánh {case}: {said} {result}", en = "Your report {case}: {said} {result}" }

[[template]]
why = ["assigned"]
to = ["channel"]
title = { vi = "{category} ở {area}", en = "{category} in {area}" }
text = { vi = "Có {category} ở {area}. {title} {result}", en = "There is {category} in {area}. {title} {result}" }

[[copy]]
channel = "partner"
why = ["assigned"]

[[copy]]
channel = "horns"
why = ["assigned"]
categories = ["fire"]
severities = ["critical"]
area = "01"

[[template]]
why = ["message"]
to = ["unit"]
text = { vi = "{case}: {said}", en = "{case}: {said}" }
"""

PEOPLE = """
[[person]]
id = "an"
name = "An"
roles = ["operator"]
areas = ["00"]
agency = "roads"
language = "vi"
address = { mail = "an@example.vn", sms = "0901" }
quiet_from = 22:00:00
quiet_to = 06:00:00

[[person]]
id = "binh"
name = "Bình"
roles = ["operator"]
areas = ["02"]
agency = "roads"
address = { mail = "binh@example.vn" }

[[person]]
id = "chi"
name = "Chi"
roles = ["unit"]
areas = ["00"]
agency = "roads"
unit = "a"
language = "en"
address = { sms = "0902" }

[[person]]
id = "dung"
name = "Dũng"
roles = ["leader"]
areas = ["00"]
agency = "province"
agencies = ["*"]
address = { sms = "0903", mail = "dung@example.vn" }
digest = true

[[person]]
id = "boss"
name = "Boss"
roles = ["leader", "operator"]
areas = ["00"]
agencies = ["*"]
"""

CONDUCT = """
[[category]]
id = "conduct"
names = { en = "Conduct" }
kind = "conduct"
agency = "inspectors"
"""

INSPECTORS = """
[[agency]]
id = "inspectors"
names = { en = "Inspectors" }
supervisor = "province"
"""

PACK: Mapping[str, str] = {
    **FILES,
    "site.toml": SITE,
    "agencies.toml": AGENCIES + INSPECTORS,
    "cases.toml": CASES + CONDUCT,
    "units.toml": UNITS,
    "people.toml": PEOPLE,
    "channels.toml": CHANNELS,
}


def channel_pack(channels: str = CHANNELS, **other: str) -> dict[str, str]:
    """The files, some of them otherwise."""
    return {
        **PACK,
        "channels.toml": channels,
        **{name.replace("_toml", ".toml"): text for name, text in other.items()},
    }


def channel_site(channels: str = CHANNELS, **other: str) -> Site:
    """The pack, read."""
    return parse_site(channel_pack(channels, **other))
