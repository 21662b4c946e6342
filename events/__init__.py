"""Tell what happened: outbox → relay → Kafka → consumers. The outbox is the record; everything after it may be lost."""
