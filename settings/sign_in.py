"""Who signs in to MLflow, and where."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, model_validator

from settings.faults import fault
from settings.types import Section, matching

_LABEL = r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?"
HostName = Annotated[
    str,
    matching(rf"(?=.{{1,253}}$){_LABEL}(\.{_LABEL})*", "is not a host's name in lower case"),
]
Issuer = Annotated[
    str,
    matching(
        rf"https://{_LABEL}(\.{_LABEL})*(:\d{{1,5}})?(/[-.\w~/]*)?",
        "is not the https URL of an issuer such as https://login.example.com/realms/people",
    ),
]
# An entry of a list that a program reads line by line, so it holds no space or comma.
Email = Annotated[
    str,
    matching(
        r"[^\s@,*]*@[A-Za-z0-9]([-.A-Za-z0-9]*[A-Za-z0-9])?",
        "is not an address such as ada@example.com, or a domain such as @example.com",
    ),
]
Group = Annotated[str, matching(r"[^\s,]([^,\r\n]*[^\s,])?", "is not a group's name")]
File = Annotated[str, matching(r"[^\s:]+", "is not the path of a file")]
ClientId = Annotated[str, matching(r"\S{1,255}", "is not a client's id")]


class Oidc(Section):
    """An issuer of OpenID Connect, and whom of its people MLflow lets in."""

    issuer: Issuer = Field(description="the issuer's https URL, as in its own documents")
    client_id: ClientId = Field(description="the id that the issuer knows MLflow by")
    emails: list[Email] = Field(
        default_factory=list,
        description="people, as ada@example.com, or all of a domain, as @example.com",
    )
    groups: list[Group] = Field(default_factory=list, description="groups of the issuer")
    ca: File | None = Field(
        default=None, description="a file of PEM, for an issuer that no public authority vouches"
    )

    @model_validator(mode="after")
    def _not_everybody(self) -> Oidc:
        if not self.emails and not self.groups:
            raise fault(
                "emails",
                None,
                "is not set, and neither is groups; the issuer may know more people than MLflow is "
                "for: name some, or their domain as in @example.com",
            )
        return self


class SignIn(Section):
    """How people and programs sign in to MLflow, on a host of its own at the gateway."""

    host: HostName = Field(description="the host's name at the gateway, as in mlflow.example.com")
    oidc: Oidc | None = None
    basic: bool = Field(default=False, description="names and passwords of a list of one's own")

    @model_validator(mode="after")
    def _one_way(self) -> SignIn:
        if self.basic == (self.oidc is not None):
            raise fault(
                "basic",
                self.basic,
                "excludes oidc; keep one"
                if self.basic
                else "is not true, and oidc is not set; MLflow is never open: give one of the two",
            )
        return self
