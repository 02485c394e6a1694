/** What is measured is judged elsewhere; here stands that the instruments measure right. */
@NullMarked
package io.berth.bench;

import org.jspecify.annotations.NullMarked;
