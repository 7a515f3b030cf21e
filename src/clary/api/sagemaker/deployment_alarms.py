"""The alarms that a DeploymentConfig names: they must exist before the deployment starts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from clary.api.call import Call
from clary.domain.endpoints.deployment import alarm_names
from clary.domain.errors import Invalid


async def check(call: Call, config: Mapping[str, Any]) -> None:
    """Invalid unless every alarm that guards the deployment exists, in the endpoint's account and region."""
    missing = [name for name in alarm_names(config) if await call.store.get("alarm", call.scope, name) is None]
    if missing:
        raise Invalid(
            f"Could not find CloudWatch alarm(s) {', '.join(sorted(missing))} of "
            f"DeploymentConfig.AutoRollbackConfiguration in account {call.scope.account} and region {call.scope.region}; create "
            "them with PutMetricAlarm first."
        )
