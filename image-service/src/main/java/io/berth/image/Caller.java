package io.berth.image;

import java.time.Duration;

/**
 * On whose behalf requests are sent to a host.
 *
 * @param credentials hosts limit each account by itself
 * @param patience how long a request may wait for the host when it asks for a pause
 * @param answer until the head of an answer is there, for what a host has at hand
 */
record Caller(RegistryCredentials credentials, Duration patience, Duration answer) {}
