insert into migrations (number, name, statements) values (?, ?, ?)
