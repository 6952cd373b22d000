"""The database model of leads."""

from __future__ import annotations

from typing import ClassVar

from django.db import models


class Lead(models.Model):
    """A lead as sent. The same id sent twice makes two leads, so that requests can be counted."""

    campaign_id: models.CharField[str, str] = models.CharField(max_length=255)
    lead_id: models.CharField[str, str] = models.CharField(max_length=255)
    details: models.JSONField[dict[str, object], dict[str, object]] = models.JSONField()
    is_disabled: models.BooleanField[bool, bool] = models.BooleanField(default=False)

    class Meta:
        """Leads are looked up by campaign, then by id."""

        indexes: ClassVar[list[models.Index]] = [
            models.Index(fields=["campaign_id", "lead_id"], name="lead_of_campaign")
        ]

    def __str__(self) -> str:
        return f"{self.lead_id} of campaign {self.campaign_id}"
