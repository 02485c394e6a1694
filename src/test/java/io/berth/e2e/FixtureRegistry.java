package io.berth.e2e;

import java.io.IOException;
import org.junit.jupiter.api.extension.ExtensionContext;
import org.junit.jupiter.api.extension.ParameterContext;
import org.junit.jupiter.api.extension.ParameterResolver;

/**
 * Gives tests a {@link DockerRegistry} with the fixture images: one for the whole run, made when it
 * is first asked for. Tests that damage or fill a registry start their own.
 */
final class FixtureRegistry implements ParameterResolver {
  private static final ExtensionContext.Namespace OURS =
      ExtensionContext.Namespace.create(FixtureRegistry.class);

  /** The root store closes it after the last test. */
  private record Running(DockerRegistry registry) implements AutoCloseable {
    @Override
    public void close() throws IOException {
      registry.close();
    }
  }

  @Override
  public boolean supportsParameter(ParameterContext parameter, ExtensionContext context) {
    return parameter.getParameter().getType() == DockerRegistry.class;
  }

  @Override
  public Object resolveParameter(ParameterContext parameter, ExtensionContext context) {
    return context
        .getRoot()
        .getStore(OURS)
        .getOrComputeIfAbsent("registry", _ -> start(), Running.class)
        .registry();
  }

  @SuppressWarnings("MustBeClosedChecker") // the store does
  private static Running start() {
    try {
      DockerRegistry registry = DockerRegistry.start();
      try {
        registry.pushFixtureImages();
        return new Running(registry);
      } catch (Throwable failure) {
        registry.close();
        throw failure;
      }
    } catch (IOException failure) {
      throw new AssertionError("no registry with the fixture images", failure);
    } catch (InterruptedException stopped) {
      Thread.currentThread().interrupt();
      throw new AssertionError("interrupted while filling the registry", stopped);
    }
  }
}
