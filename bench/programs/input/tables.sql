-- Inserts, an index, joins, groups, updates.
create table person (id integer primary key, name text, city integer);
create table city (id integer primary key, name text);
begin;
with recursive n(i) as (values(1) union all select i + 1 from n where i < 500) insert into city select i, 'city ' || i from n;
with recursive n(i) as (values(1) union all select i + 1 from n where i < 60000)
  insert into person select i, 'person ' || (i * 7919 % 60013), i * 31 % 500 + 1 from n;
commit;
create index by_name on person (name);
select count(*), min(name), max(name) from person;
select city.name, count(*), sum(person.id) from person join city on city.id = person.city group by city.id order by 3 desc limit 5;
update person set name = upper(name) where id % 3 = 0;
select count(*) from person where name like 'PERSON 1%';
select count(*) from person a join person b on b.id = a.id + 1 where a.city < b.city;
delete from person where city between 100 and 200;
select count(*), sum(length(name)) from person;
