import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.File;
import java.time.Instant;
import java.util.Date;
import java.util.HashSet;
import java.util.Properties;
import java.util.Set;
import org.apache.ranger.authorization.hadoop.config.RangerPluginConfig;
import org.apache.ranger.plugin.policyengine.RangerAccessRequestImpl;
import org.apache.ranger.plugin.policyengine.RangerAccessResourceImpl;
import org.apache.ranger.plugin.policyengine.RangerAccessResult;
import org.apache.ranger.plugin.service.RangerBasePlugin;
import org.apache.ranger.plugin.util.JsonUtilsV2;
import org.apache.ranger.plugin.util.RangerRoles;
import org.apache.ranger.plugin.util.ServicePolicies;

/** Prints the decisions of Ranger's policy engine: reads suites, writes a JSON line per request. */
public class Oracle {
    private static final ObjectMapper JSON = new ObjectMapper();

    public static void main(String[] arguments) throws Exception {
        StringBuilder out = new StringBuilder();
        for (JsonNode suite : JSON.readTree(new File(arguments[0]))) {
            RangerBasePlugin engine = engine(suite.get("policies"));
            for (JsonNode request : suite.get("requests")) {
                out.append(decide(engine, request)).append('\n');
            }
        }
        System.out.print(out);
        System.out.flush();
        System.exit(0); // the engines' threads are still running
    }

    private static RangerBasePlugin engine(JsonNode content) throws Exception {
        ServicePolicies policies = JsonUtilsV2.jsonToObj(content.toString(), ServicePolicies.class);
        String type = policies.getServiceDef().getName();
        String prefix = "ranger.plugin." + type + ".policyengine.option.";
        Properties options = new Properties();
        for (String part : new String[] {"policy.refresher", "tag.retriever", "userstore.retriever"}) {
            options.setProperty(prefix + "disable." + part, "true"); // there is no Ranger Admin
        }
        RangerPluginConfig config =
            new RangerPluginConfig(type, policies.getServiceName(), type, options);
        return new RangerBasePlugin(config, policies, null, new RangerRoles());
    }

    private static ObjectNode decide(RangerBasePlugin engine, JsonNode request) {
        RangerAccessResourceImpl resource = new RangerAccessResourceImpl();
        request.get("resource").fields()
            .forEachRemaining(level -> resource.setValue(level.getKey(), level.getValue().asText()));
        Set<String> groups = new HashSet<>();
        request.get("groups").forEach(group -> groups.add(group.asText()));
        RangerAccessRequestImpl accessRequest = new RangerAccessRequestImpl(
            resource, "select", request.path("user").asText(null), groups, null);
        if (request.hasNonNull("time")) {
            accessRequest.setAccessTime(Date.from(Instant.parse(request.get("time").asText())));
        }
        RangerAccessResult result = engine.evalDataMaskPolicies(accessRequest, null);
        ObjectNode answer = JSON.createObjectNode();
        answer.put("policyId", result.getPolicyId());
        answer.put("policyVersion", result.getPolicyVersion());
        answer.put("maskType", result.getMaskType());
        answer.put("maskedValue", result.getMaskedValue());
        answer.put("maskEnabled", result.isMaskEnabled());
        return answer;
    }
}
