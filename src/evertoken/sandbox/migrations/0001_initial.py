"""The table of leads."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from django.db import migrations, models

if TYPE_CHECKING:
    from django.db.migrations.operations.base import Operation


class Migration(migrations.Migration):
    """Create it."""

    initial: ClassVar[bool] = True
    dependencies: ClassVar[list[tuple[str, str]]] = []
    operations: ClassVar[list[Operation]] = [
        migrations.CreateModel(
            name="Lead",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("campaign_id", models.CharField(max_length=255)),
                ("lead_id", models.CharField(max_length=255)),
                ("details", models.JSONField()),
                ("is_disabled", models.BooleanField(default=False)),
            ],
            options={
                "indexes": [
                    models.Index(fields=["campaign_id", "lead_id"], name="lead_of_campaign")
                ],
            },
        ),
    ]
