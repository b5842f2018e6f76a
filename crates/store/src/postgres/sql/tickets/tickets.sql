select
    ticket.lease_id, ticket.number, ticket.server,
    greatest(ticket.heard_at, server.heard_at) as heard_at,
    ticket.since, ticket.until, ticket.user_name, ticket.key, ticket.asked_lease, ticket.asked_wait
from token_manager.tickets as ticket
left join token_manager.servers as server
    on server.pool = ticket.pool and server.id = ticket.server
where ticket.pool = $1::integer
order by ticket.number
