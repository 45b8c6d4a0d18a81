-- When a secret stops being valid where it comes from, for those who said so: it is told in time.
ALTER TABLE secrets ADD COLUMN expires_at INTEGER;
