"""The one registry of Temporal search attributes: name → type. Never personal data; they are not encrypted.

The development server's SQLite has room for ten Keyword and three Datetime attributes, and the type of a name cannot
change in an existing file, so names are added here and never re-typed.
"""

from types import MappingProxyType
from typing import Final, Literal

AttributeType = Literal["Keyword", "Datetime"]

TRANSACTION_ID: Final = "TransactionId"
CLIENT_ID: Final = "ClientId"
KIND: Final = "TransactionKind"
STATUS: Final = "TransactionStatus"
BANK: Final = "Bank"
ATTENTION: Final = "Attention"
ATTENTION_STEP: Final = "AttentionStep"
ATTENTION_SINCE: Final = "AttentionSince"

REGISTRY: Final = MappingProxyType[str, AttributeType](
    {
        TRANSACTION_ID: "Keyword",
        CLIENT_ID: "Keyword",
        KIND: "Keyword",
        STATUS: "Keyword",
        BANK: "Keyword",
        ATTENTION: "Keyword",
        ATTENTION_STEP: "Keyword",
        ATTENTION_SINCE: "Datetime",
    }
)
