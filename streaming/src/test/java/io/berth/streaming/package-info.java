@NullMarked
package io.berth.streaming;

import org.jspecify.annotations.NullMarked;
