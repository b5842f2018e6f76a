select
    ticket.lease_id, ticket.number, ticket.server,
    greatest(ticket.heard_at, server.heard_at) as heard_at,
    ticket.since, ticket.until, ticket.user_name, ticket.key, ticket.asked_lease, ticket.asked_wait,
    ticket.pool, ticket.token_id, ticket.note
from token_manager.tickets as ticket
left join token_manager.servers as server on server.id = ticket.server
order by ticket.number
