"""Problems, by a client that openapi-python-client made from the document. What a problem has is typed:
nothing here is cast. Prints what it saw, line by line.

    problems.py refused|over URL
"""

import sys

from token_manager_client import Client
from token_manager_client.api.leases import export_leases, renew_lease
from token_manager_client.api.tokens import allocate_token, release_token
from token_manager_client.models import (
    Allocation,
    AllocationRequest,
    HolderMismatchProblem,
    LeaseOverProblem,
    PoolFullProblem,
    Problem,
    ReleaseCondition,
    RenewalLimitProblem,
    UserLimitProblem,
)


def allocate(api: Client, user: str) -> Allocation:
    answer = allocate_token.sync(client=api, body=AllocationRequest(user_id=user))
    assert isinstance(answer, Allocation), answer
    return answer


def nothing_else(*problems: HolderMismatchProblem | LeaseOverProblem | PoolFullProblem | UserLimitProblem) -> None:
    """Members that the document lacks would be here."""
    for problem in problems:
        assert problem.additional_properties == {}, problem


def refused(api: Client) -> None:
    """Problems of a pool with one token, `reject`, and one lease per user."""
    allocate(api, "ann")
    for user in ["ann", "bob", ""]:
        problem = allocate_token.sync(client=api, body=AllocationRequest(user_id=user))
        if isinstance(problem, UserLimitProblem):
            nothing_else(problem)
            print(f"at most {problem.max_per_user + 0} for each user")
        elif isinstance(problem, PoolFullProblem):
            nothing_else(problem)
            print(f"number {problem.position + 0} in the queue")
        elif isinstance(problem, Problem):
            print(f"{problem.status}: {problem.detail}")


def over(api: Client) -> None:
    """Problems of a pool with one token and `evict-oldest`."""
    ann = allocate(api, "ann")
    bob = allocate(api, "bob")
    for lease in [ann, bob]:
        problem = renew_lease.sync(lease.lease_id, client=api)
        if isinstance(problem, LeaseOverProblem):
            nothing_else(problem)
            evicted_for_bob = problem.evicted_by == bob.lease_id and problem.ended_at == bob.activated_at
            print(f"{problem.end_reason.value} for bob: {str(evicted_for_bob).lower()}")
        elif isinstance(problem, RenewalLimitProblem):
            print(f"until its deadline: {str(problem.expires_at == bob.expires_at).lower()}")
    condition = ReleaseCondition(lease_id=ann.lease_id)
    held = release_token.sync(ann.token_id, client=api, body=condition)
    if isinstance(held, HolderMismatchProblem):
        nothing_else(held)
        print(f"held by {held.current.user if held.current else None}")
    exported = export_leases.sync(client=api)
    if isinstance(exported, str):
        print(f"{exported.count(chr(10)) + 1} lines of CSV")


if __name__ == "__main__":
    {"refused": refused, "over": over}[sys.argv[1]](Client(base_url=sys.argv[2]))
