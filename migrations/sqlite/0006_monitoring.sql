-- Where a run stands in its caller's trace (W3C Trace Context).
ALTER TABLE runs ADD COLUMN traceparent TEXT;
