"""A key of KMS for what holds data."""

from __future__ import annotations

import pulumi
from pulumi_aws.kms.alias import Alias
from pulumi_aws.kms.key import Key

from . import data_documents, documents
from .options import child


def data_key(
    parent: pulumi.Resource,
    name: str,
    *,
    alias: str,
    purpose: str,
    account: str,
    region: str,
) -> Key:
    """A key that is renewed every year, with the alias `alias/<alias>`, for people.

    What was written under it is lost with it, backups too, so it is kept even where what it is for
    may go. KMS waits 30 days before it deletes one.
    """
    key = Key(
        name,
        description=purpose,
        enable_key_rotation=True,
        deletion_window_in_days=30,
        policy=documents.text(data_documents.owner_alone(account, region)),
        opts=child(parent, keep=True),
    )
    Alias(
        f"{name}-alias",
        name=f"alias/{alias}",
        target_key_id=key.key_id,
        opts=child(parent, fixed_name=True),
    )
    return key
