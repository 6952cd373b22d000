"""Serializers for leads: validation of requests, content of responses."""

from __future__ import annotations

import json

from rest_framework import serializers

from evertoken.sandbox.models import Lead


class LeadReference(serializers.Serializer[Lead]):
    """A lead by its id."""

    lead_id: serializers.CharField = serializers.CharField(max_length=255)


class LeadSerializer(LeadReference):
    """A lead. Members beyond the three known ones belong to the campaign and are stored as sent."""

    phone_number: serializers.CharField = serializers.CharField(max_length=32)
    contact_name: serializers.CharField = serializers.CharField(
        max_length=255, required=False, allow_blank=True
    )

    def to_internal_value(self, data: object) -> dict[str, object]:
        """Validate the known members, and that the others can be stored."""
        known: dict[str, object] = super().to_internal_value(data)
        members = data if isinstance(data, dict) else {}
        try:
            # JSON allows 1e400 and lone surrogates, which cannot be sent back
            json.dumps(members, allow_nan=False, ensure_ascii=False).encode()
        except ValueError:
            raise serializers.ValidationError(
                {"non_field_errors": ["A member has a number or a text that cannot be stored."]}
            ) from None
        return {**members, **known}

    def to_representation(self, instance: Lead) -> dict[str, object]:
        """The lead as it was sent, and whether it is disabled."""
        details = instance.details
        return {"lead_id": instance.lead_id, **details, "is_disabled": instance.is_disabled}
