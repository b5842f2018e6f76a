select number, statements from migrations order by number
