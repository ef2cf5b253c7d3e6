#!/bin/sh
# Runs a worker with a name of its own. After TERM, the worker takes no more tasks, finishes those that it has begun, and ends.
name="$$@$(uname -n)"

retire() {
    # The last word is the name of the queue.
    timeout 10 celery -A mysite control --destination "$name" cancel_consumer celery
    sleep 2
    kill "$worker"
    wait "$worker"
    exit 0
}

celery -A mysite worker -n "$name" &
worker=$!
trap retire TERM
wait "$worker"
