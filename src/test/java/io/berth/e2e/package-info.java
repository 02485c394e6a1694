/**
 * Tests that cross modules: the wire against the published protocol, the layers against their
 * rules, and the whole daemon driven by its real clients, registry, runtimes and network plugins.
 * What they share lives here too: where those tools are, and a registry of their own.
 */
@NullMarked
package io.berth.e2e;

import org.jspecify.annotations.NullMarked;
