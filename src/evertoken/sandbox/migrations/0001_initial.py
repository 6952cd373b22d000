"""The table of leads."""

from __future__ import annotations

from typing import ClassVar

from django.db import migrations, models


class Migration(migrations.Migration):
    """Create it."""

    initial = True
    dependencies: ClassVar = []
    operations: ClassVar = [
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
