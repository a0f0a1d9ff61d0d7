-- Why a message is parked: the kind of fact that the version which met it did not know, if that is why. A version that
-- knows the kind takes the message up by itself; the others wait for a person.
alter table parked add column awaits text not null default '';
