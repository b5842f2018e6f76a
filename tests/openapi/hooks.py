"""Rules for requests that the document can't express."""

import os

import schemathesis

# The key of the requests, by id and name.
OWN = {os.environ["TOKEN_MANAGER_KEY"].split("_")[1], "bootstrap"}

# The policy limits the lease, and a key the wait; the document is the same for all servers.
LONGEST = {"lease_seconds": 120.0, "wait_seconds": 60.0}


def _seconds(value):
    try:
        return None if isinstance(value, bool) else float(value)
    except (TypeError, ValueError):
        return None


@schemathesis.hook
def before_load_schema(context, raw_schema):
    """Reads the stream event by event. The document describes it as text, for generated clients."""
    stream = raw_schema["paths"]["/api/events"]["get"]["responses"]["200"]["content"]["text/event-stream"]
    stream["schema"] = {"$ref": "#/components/schemas/ServerSentEvent"}


@schemathesis.hook("map_case").apply_to(operation_id="allocateToken")
def no_longer_than_the_server_allows(context, case):
    for name, longest in LONGEST.items():
        body = case.body
        seconds = _seconds(body.get(name)) if isinstance(body, dict) else None
        if seconds is not None and seconds > longest and (name == "lease_seconds" or seconds <= 86_400):
            case.body = {**body, name: str(longest) if isinstance(body[name], str) else longest}
    return case


@schemathesis.hook("filter_case").apply_to(operation_id=["searchLeases", "exportLeases"])
def only_what_goes_together(context, case):
    query = case.query or {}
    ended_and_running = "end_reason" in query and query.get("status") in ("running", "active")
    two_tokens = "token" in query and ("token_id" in query or query.get("pool") == "*")
    return not (ended_and_running or two_tokens)


@schemathesis.hook("filter_case").apply_to(operation_id=["rotateKey", "revokeKey"])
def only_other_keys(context, case):
    """Without its key, every later request would be refused."""
    return (case.path_parameters or {}).get("key") not in OWN
